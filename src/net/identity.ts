import { createPrivateKey, createPublicKey, type KeyObject, sign, X509Certificate } from 'node:crypto'
import type { Random } from '../util/random.js'
import type { NodeId } from './transport.js'

/** A node's key and certificate, which prove who it is. The caller keeps the PEM strings; the key is a secret. */
export interface NodeIdentity {
  nodeId: NodeId
  /** PKCS #8, "PRIVATE KEY". */
  privateKeyPem: string
  /** X.509, self-signed. */
  certificatePem: string
}

/** An Ed25519 private key in PKCS #8 (RFC 8410, section 7) is this prefix and the 32-byte seed. */
const PKCS8_ED25519 = Buffer.from('302e020100300506032b657004220420', 'hex')
/** AlgorithmIdentifier of Ed25519 (RFC 8410, section 3). */
const ALGORITHM_ED25519 = Buffer.from('300506032b6570', 'hex')
const OID_COMMON_NAME = Buffer.from('0603550403', 'hex')
const X509_VERSION_3 = Buffer.from('a003020102', 'hex')
const PUBLIC_KEY_BYTES = 32

/** A fresh identity: a key pair, and a certificate that does not expire (RFC 5280, section 4.1.2.5). */
export function createIdentity(random: Random): NodeIdentity {
  const key = createPrivateKey({
    key: Buffer.concat([PKCS8_ED25519, random.bytes(32)]),
    format: 'der',
    type: 'pkcs8',
  })
  return identityFromKey(key)
}

/**
 * The identity of a key that was kept before; its certificate is made anew if none is given.
 * @throws TypeError or the crypto library's error when a PEM cannot be read, or the two do not belong together.
 */
export function loadIdentity(privateKeyPem: string, certificatePem?: string): NodeIdentity {
  const key = createPrivateKey(privateKeyPem)
  if (key.asymmetricKeyType !== 'ed25519') throw new TypeError('the node key is not an Ed25519 key')
  if (certificatePem === undefined) return identityFromKey(key)
  const certificate = new X509Certificate(certificatePem)
  if (!certificate.checkPrivateKey(key)) throw new TypeError('the node certificate belongs to another key')
  return { nodeId: idOfPublicKey(certificate.publicKey)!, privateKeyPem, certificatePem }
}

/** The id of the node that a certificate (DER) names; undefined if the bytes are no certificate of an Ed25519 key. */
export function nodeIdOfCertificate(der: Uint8Array): NodeId | undefined {
  try {
    return idOfPublicKey(new X509Certificate(der).publicKey)
  } catch {
    return undefined
  }
}

function idOfPublicKey(key: KeyObject): NodeId | undefined {
  if (key.asymmetricKeyType !== 'ed25519') return undefined
  return key.export({ format: 'der', type: 'spki' }).subarray(-PUBLIC_KEY_BYTES).toString('hex')
}

function identityFromKey(key: KeyObject): NodeIdentity {
  const spki = createPublicKey(key).export({ format: 'der', type: 'spki' })
  return {
    nodeId: spki.subarray(-PUBLIC_KEY_BYTES).toString('hex'),
    privateKeyPem: key.export({ format: 'pem', type: 'pkcs8' }).toString(),
    certificatePem: pem('CERTIFICATE', selfSigned(key, spki)),
  }
}

/**
 * The least certificate that X.509 allows: no extension, since nobody reads anything but the key. It is written by
 * hand because node:crypto makes none, and a library for this one fixed form costs a node's start more than it saves.
 */
function selfSigned(key: KeyObject, spki: Buffer): Buffer {
  const name = tlv(0x30, tlv(0x31, tlv(0x30, OID_COMMON_NAME, tlv(0x0c, Buffer.from('carport')))))
  const validity = tlv(
    0x30,
    tlv(0x17, Buffer.from('200101000000Z')),
    tlv(0x18, Buffer.from('99991231235959Z')),
  )
  // 0x01 in front keeps the serial number positive and without needless zeros.
  const serial = tlv(0x02, Buffer.concat([Buffer.of(1), spki.subarray(-15)]))
  const toBeSigned = tlv(0x30, X509_VERSION_3, serial, ALGORITHM_ED25519, name, validity, name, spki)
  const signature = tlv(0x03, Buffer.of(0), sign(null, toBeSigned, key))
  return tlv(0x30, toBeSigned, ALGORITHM_ED25519, signature)
}

/** DER: tag, length, value. */
function tlv(tag: number, ...parts: Buffer[]): Buffer {
  const value = Buffer.concat(parts)
  const length =
    value.length < 0x80
      ? [value.length]
      : value.length < 0x100
        ? [0x81, value.length]
        : [0x82, value.length >> 8, value.length & 0xff]
  return Buffer.concat([Buffer.of(tag, ...length), value])
}

function pem(label: string, der: Buffer): string {
  const lines = der.toString('base64').replace(/.{64}(?=.)/g, '$&\n')
  return `-----BEGIN ${label}-----\n${lines}\n-----END ${label}-----\n`
}
