import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { CarportError } from '../util/errors.js'

/** Files and folders by which a folder of Garage's metadata or data is known. */
const METADATA_MARKS = ['db.lmdb', 'db.sqlite', 'db.fjall', 'node_key', 'garage-marker']
const DATA_MARKS = ['garage-marker']

/**
 * Refuses folders that hold Garage's data: beside it, a node would start empty, and look like a loss.
 * @throws CarportError Conflict, which says what to do
 */
export function refuseGarageFolders(metadataDir: string, dataDirs: readonly string[]): void {
  const places = [
    ...METADATA_MARKS.map((mark) => [metadataDir, mark] as const),
    ...dataDirs.flatMap((folder) => DATA_MARKS.map((mark) => [folder, mark] as const)),
  ]
  for (const [folder, mark] of places) {
    if (!existsSync(join(folder, mark))) continue
    throw new CarportError(
      'Conflict',
      `${folder} holds Garage's data (${mark}): start Carport on folders of its own, and "carport migrate" copies from the running Garage`,
    )
  }
}
