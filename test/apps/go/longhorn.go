// Backs up a volume by Longhorn's backupstore as Longhorn's engine does, and restores it. The volume is a file; of its
// blocks, those that differ between two snapshots are backed up.
//
//	longhorn backup URL VOLUME SNAPSHOT [PREVIOUS]    prints the URL of the backup
//	longhorn restore BACKUP_URL FILE
//	longhorn delete BACKUP_URL
package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/longhorn/backupstore"
	_ "github.com/longhorn/backupstore/s3"
	"github.com/longhorn/backupstore/types"
)

const blockSize = 2 * 1024 * 1024

// operations are what the engine offers to backups and restores.
type operations struct {
	done chan string
	stop chan struct{}
	once sync.Once
}

func (o *operations) HasSnapshot(id, _ string) bool {
	_, err := os.Stat(id)
	return err == nil
}

func (o *operations) CompareSnapshot(id, compareID, _ string, size int64) (*types.Mappings, error) {
	current, err := os.ReadFile(id)
	if err != nil {
		return nil, err
	}
	var previous []byte
	if compareID != "" {
		if previous, err = os.ReadFile(compareID); err != nil {
			return nil, err
		}
	}
	mappings := &types.Mappings{BlockSize: size}
	for at := int64(0); at < int64(len(current)); at += size {
		end := at + size
		if previous == nil || !bytes.Equal(current[at:end], previous[at:end]) {
			mappings.Mappings = append(mappings.Mappings, types.Mapping{Offset: at, Size: size})
		}
	}
	return mappings, nil
}

func (o *operations) OpenSnapshot(_, _ string) error  { return nil }
func (o *operations) CloseSnapshot(_, _ string) error { return nil }

func (o *operations) ReadSnapshot(id, _ string, start int64, data []byte) error {
	file, err := os.Open(id)
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = file.ReadAt(data, start)
	return err
}

func (o *operations) UpdateBackupStatus(_, _ string, state string, progress int, url string, problem string) error {
	if problem != "" {
		o.once.Do(func() { o.done <- "error: " + problem })
	} else if progress == 100 && url != "" {
		o.once.Do(func() { o.done <- url })
	}
	return nil
}

func (o *operations) OpenVolumeDev(name string) (*os.File, string, error) {
	file, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	return file, name, err
}

func (o *operations) CloseVolumeDev(file *os.File) error { return file.Close() }

func (o *operations) UpdateRestoreStatus(_ string, progress int, err error) {
	if err != nil {
		o.once.Do(func() { o.done <- "error: " + err.Error() })
	} else if progress == 100 {
		o.once.Do(func() { o.done <- "restored" })
	}
}

func (o *operations) Stop()                      {}
func (o *operations) GetStopChan() chan struct{} { return o.stop }

// untilUnlocked waits until a backup or restore has taken away its lock, which it does after it told its end. The engine,
// which runs on, need not wait.
func untilUnlocked(url string) error {
	driver, err := backupstore.GetBackupStoreDriver(url)
	if err != nil {
		return err
	}
	for range 300 {
		locks := 0
		volumes := "backupstore/volumes"
		outer, err := driver.List(volumes)
		if err != nil {
			return err
		}
		for _, one := range outer {
			inner, err := driver.List(filepath.Join(volumes, one))
			if err != nil {
				return err
			}
			for _, two := range inner {
				names, err := driver.List(filepath.Join(volumes, one, two, "volume/locks"))
				if err != nil {
					return err
				}
				locks += len(names)
			}
		}
		if locks == 0 {
			return nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	return fmt.Errorf("the lock stays")
}

func run(args []string) (string, error) {
	ops := &operations{done: make(chan string, 1), stop: make(chan struct{})}
	switch args[0] {
	case "backup":
		snapshot, err := filepath.Abs(args[3])
		if err != nil {
			return "", err
		}
		info, err := os.Stat(snapshot)
		if err != nil {
			return "", err
		}
		config := &backupstore.DeltaBackupConfig{
			BackupName:      "backup-" + filepath.Base(snapshot),
			Volume:          &backupstore.Volume{Name: args[2], Size: info.Size(), CompressionMethod: "lz4"},
			Snapshot:        &backupstore.Snapshot{Name: snapshot},
			DestURL:         args[1],
			DeltaOps:        ops,
			ConcurrentLimit: 4,
		}
		if _, err := backupstore.CreateDeltaBlockBackup(config.BackupName, config); err != nil {
			return "", err
		}
		said := <-ops.done
		return said, untilUnlocked(args[1])
	case "restore":
		config := &backupstore.DeltaRestoreConfig{
			BackupURL: args[1], DeltaOps: ops, Filename: args[2], ConcurrentLimit: 4,
		}
		if err := backupstore.RestoreDeltaBlockBackup(context.Background(), config); err != nil {
			return "", err
		}
		said := <-ops.done
		return said, untilUnlocked(args[1])
	case "delete":
		return "deleted", backupstore.DeleteDeltaBlockBackup(args[1])
	}
	return "", fmt.Errorf("no command %s", args[0])
}

func main() {
	said, err := run(os.Args[1:])
	if err != nil {
		said = "error: " + err.Error()
	}
	fmt.Println(said)
	if err != nil || bytes.HasPrefix([]byte(said), []byte("error: ")) {
		os.Exit(1)
	}
}
