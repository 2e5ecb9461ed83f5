/** What Python programs keep data in S3 with: deltalake (tables with transactions) and s3fs (files). */
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { pasted } from './kit/page.js'
import { fromPip, installed } from './kit/programs.js'
import { attempt, must } from './kit/run.js'
import { application } from './kit/store.js'

const PACKAGES = ['deltalake==1.6.6', 'pyarrow', 's3fs==2026.9.0']
const python = await installed(async () => join(await fromPip('python-data', PACKAGES), 'python3'))

/** Ends a script at once: threads of pyarrow abort the orderly end of an interpreter now and then. */
const END = 'import os, sys\nsys.stdout.flush()\nos._exit(0)\n'

/** Appends to one table from eight threads at a time, and says which rows it then holds. */
const APPENDS = `
from concurrent.futures import ThreadPoolExecutor
from deltalake import CommitProperties
def write(writer, i):
    write_deltalake(table, pa.table({"writer": [writer] * 100, "i": [i] * 100}), mode="append", storage_options=storage,
                    commit_properties=CommitProperties(max_commit_retries=100))
def append(writer):
    for i in range(3):
        write(writer, i)
write(-1, 0)
with ThreadPoolExecutor(8) as threads:
    list(threads.map(append, range(8)))
delta = DeltaTable(table, storage_options=storage)
rows = delta.to_pyarrow_table()
print(rows.num_rows, len(set(zip(rows["writer"].to_pylist(), rows["i"].to_pylist()))), delta.version())
`

const MAINTENANCE = `
write_deltalake(table, pa.table({"id": list(range(200000)), "text": ["x" * 50] * 200000}), storage_options=storage)
delta = DeltaTable(table, storage_options=storage)
delta.delete("id >= 100000")
delta.optimize.compact()
delta.create_checkpoint()
delta.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
print(DeltaTable(table, storage_options=storage).to_pyarrow_table().num_rows)
print(DeltaTable(table, version=0, storage_options=storage).version())
`

const FILES = `
import os
data = os.urandom(30 * 1024 * 1024)
with fs.open("my-bucket/folder/large", "wb") as f:
    f.write(data)
with fs.open("my-bucket/folder/large", "rb") as f:
    f.seek(7_000_001)
    assert f.read(1000) == data[7_000_001:7_001_001]
fs.pipe("my-bucket/folder/small", b"one")
with fs.open("my-bucket/folder/small", "ab") as f:
    f.write(b" two")
assert fs.cat("my-bucket/folder/small") == b"one two"
fs.mv("my-bucket/folder/small", "my-bucket/other")
assert sorted(fs.find("my-bucket")) == ["my-bucket/folder/large", "my-bucket/other"]
fs.rm("my-bucket/folder", recursive=True)
print(fs.ls("my-bucket"))
`

application('deltalake', python, ({ tools: program, nodes, store }) => {
  test('no commit is lost when eight write at a time', async () => {
    const script = pasted('deltalake.md', 'python', await store().home('delta')) + APPENDS
    expect(await must(program, ['-c', script + END])).toBe('2500 25 24\n')
  })

  test('deletes, compacts, checkpoints and vacuums', async () => {
    const script = pasted('deltalake.md', 'python', await store().home('delta')) + MAINTENANCE
    expect(await must(program, ['-c', script + END])).toBe('100000\n0\n')
  })

  test('a full quota fails the write, and leaves the table as it was', async () => {
    const home = await store().home('delta')
    const script = pasted('deltalake.md', 'python', home)
    const write = (rows: number) =>
      `write_deltalake(table, pa.table({"id": list(range(${rows}))}), mode="append", storage_options=storage)\n`
    const count = 'print(DeltaTable(table, storage_options=storage).to_pyarrow_table().num_rows)\n'
    await must(program, ['-c', script + write(10) + END])
    await store().setQuota(home, 50_000)
    const failed = await attempt(program, ['-c', script + write(1_000_000)])
    expect(failed.code).not.toBe(0)
    expect(failed.stderr).toMatch(/QuotaExceeded/)
    expect(await must(program, ['-c', script + count + END])).toBe('10\n')
    await store().setQuota(home, null)
    expect(await must(program, ['-c', script + write(1_000_000) + count + END])).toBe('1000010\n')
  })

  test.runIf(nodes === 3)('works while a node is down', async () => {
    const script = pasted('deltalake.md', 'python', await store().home('delta')) + APPENDS
    await store().loseNode()
    expect(await must(program, ['-c', script + END])).toBe('2500 25 24\n')
    await store().restoreNode()
  })
})

application('s3fs for Python', python, ({ tools: program, store }) => {
  test('files are written, appended to, read from the middle, moved and removed', async () => {
    const home = await store().home('s3fs')
    const script = pasted('s3fs.md', 'python', home) + FILES.replaceAll('my-bucket', home.bucket)
    expect(await must(program, ['-c', script + END])).toBe(`['${home.bucket}/other']\n`)
  })
})
