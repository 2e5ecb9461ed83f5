/** crc-wasm.wat, assembled (`wat2wasm`) and in base64, so that it needs no file at run time. */
const MODULE =
  'AGFzbQEAAAABEwNgAABgA35/fwF+YAR+fn5+AX4DBAMAAQIFAwEAAgceAwZtZW1vcnkCAAZ1cGRhdGUAAQhtdWx0aXBseQAC' +
  'CAEACtAEA40BAgJ/AX4DQCAArSECQQAhAQNAIAJCAYhCtZOv4prlpLaaf0IAIAJCAYN9g4UhAiABQQFqIgFBCEkNAAsgAEED' +
  'dCACNwMAIABBAWoiAEGAAkkNAAsDQCAAQQN0QYAQaykDACECIABBA3QgAkIIiCACQv8Bg6dBA3QpAwCFNwMAIABBAWoiAEGA' +
  'IEkNAAsLgwMBAn4CQANAIAIgAWtBEEkNASAAIAEpAwCFIQMgASkDCCEEIANC/wGDp0EDdCkDgPABIANCCIhC/wGDp0EDdCkD' +
  'gOABhSADQhCIQv8Bg6dBA3QpA4DQAYUgA0IYiEL/AYOnQQN0KQOAwAGFIANCIIhC/wGDp0EDdCkDgLABhSADQiiIQv8Bg6dB' +
  'A3QpA4CgAYUgA0IwiEL/AYOnQQN0KQOAkAGFIANCOIhC/wGDp0EDdCkDgIABhSAEQv8Bg6dBA3QpA4BwhSAEQgiIQv8Bg6dB' +
  'A3QpA4BghSAEQhCIQv8Bg6dBA3QpA4BQhSAEQhiIQv8Bg6dBA3QpA4BAhSAEQiCIQv8Bg6dBA3QpA4AwhSAEQiiIQv8Bg6dB' +
  'A3QpA4AghSAEQjCIQv8Bg6dBA3QpA4AQhSAEQjiIQv8Bg6dBA3QpAwCFIQAgAUEQaiEBDAALCwJAA0AgASACTw0BIABCCIgg' +
  'ACABMQAAhUL/AYOnQQN0KQMAhSEAIAFBAWohAQwACwsgAAs6AQF+A0AgACADg0IAUgRAIAQgAYUhBAsgAUIBiCACQgAgAUIB' +
  'g32DhSEBIANCAYgiA0IAUg0ACyAECw=='

interface CrcExports {
  memory: { buffer: ArrayBuffer }
  /** CRC-64/NVME's register after the bytes at `at` up to `end` of the memory. */
  update(register: bigint, at: number, end: number): bigint
  /** Product of two polynomials modulo a third, all reflected; `top` is its highest bit, 1n << (width - 1n). */
  multiply(a: bigint, b: bigint, polynomial: bigint, top: bigint): bigint
}

const DATA_AT = 65536
const DATA_LENGTH = 65536

let exports: CrcExports | undefined
let memory: Uint8Array

function load(): CrcExports {
  if (exports) return exports
  const wasm = (globalThis as unknown as { WebAssembly: WasmApi }).WebAssembly
  exports = new wasm.Instance(new wasm.Module(Buffer.from(MODULE, 'base64'))).exports as CrcExports
  memory = new Uint8Array(exports.memory.buffer)
  return exports
}

/** The part of the WebAssembly API in use; the types of Node 20 leave it to the DOM's. */
interface WasmApi {
  Module: new (bytes: Buffer) => object
  Instance: new (module: object) => { exports: unknown }
}

/** CRC-64/NVME of `data` after `previous` (0n to begin with), more than 1 GiB/s. */
export function crc64nvme(data: Uint8Array, previous = 0n): bigint {
  const { update } = load()
  let register = previous ^ 0xffffffffffffffffn
  for (let at = 0; at < data.length; at += DATA_LENGTH) {
    const piece = data.length <= DATA_LENGTH ? data : data.subarray(at, at + DATA_LENGTH)
    memory.set(piece, DATA_AT)
    register = update(register, DATA_AT, DATA_AT + piece.length)
  }
  return BigInt.asUintN(64, register) ^ 0xffffffffffffffffn
}

/** Product modulo a reflected polynomial of `width` bits. */
export function multiplyModulo(a: bigint, b: bigint, polynomial: bigint, width: 32 | 64): bigint {
  return BigInt.asUintN(64, load().multiply(a, b, polynomial, 1n << BigInt(width - 1)))
}
