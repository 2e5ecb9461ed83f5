import { unzipSync } from 'fflate'
import { StoreError } from '../api/client/s3-client.js'

/**
 * The files of a ZIP archive.
 * @param bytesMax of all files together: an archive that announces more is not unpacked, and no file becomes longer than it announced
 * @throws StoreError if it is none, or is damaged or too long
 */
export function unzip(archive: Buffer, bytesMax: number): Map<string, Buffer> {
  const announced = new Map<string, number>()
  let bytes = 0
  try {
    const files = unzipSync(archive, {
      // Asked before each file is unpacked.
      filter: ({ name, originalSize }) => {
        bytes += originalSize
        if (bytes > bytesMax) throw unreadable('is longer than such exports are')
        announced.set(name, originalSize)
        return true
      },
    })
    return new Map(
      [...announced].map(([name, size]) => {
        const content = files[name]
        if (content?.length !== size) throw unreadable('is damaged')
        return [name, Buffer.from(content.buffer, content.byteOffset, content.length)]
      }),
    )
  } catch (error) {
    if (error instanceof StoreError) throw error
    throw unreadable('is no ZIP archive, or is damaged')
  }
}

const unreadable = (what: string) => new StoreError('NoZip', `the export of users ${what}`, 400)
