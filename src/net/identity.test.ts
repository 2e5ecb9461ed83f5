import { X509Certificate } from 'node:crypto'
import { expect, test } from 'vitest'
import { systemRandom } from '../../testing/tls-nodes.js'
import { createIdentity, loadIdentity, nodeIdOfCertificate } from './identity.js'

test('the node id is the public key in the certificate, which signs itself and does not expire', () => {
  const identity = createIdentity(systemRandom)
  const certificate = new X509Certificate(identity.certificatePem)
  expect(identity.nodeId).toMatch(/^[0-9a-f]{64}$/)
  expect(nodeIdOfCertificate(certificate.raw)).toBe(identity.nodeId)
  expect(certificate.verify(certificate.publicKey)).toBe(true)
  expect(certificate.validTo).toBe('Dec 31 23:59:59 9999 GMT')
})

test('an identity is read back from its PEM strings, or from the key alone', () => {
  const identity = createIdentity(systemRandom)
  expect(loadIdentity(identity.privateKeyPem, identity.certificatePem)).toEqual(identity)
  expect(loadIdentity(identity.privateKeyPem)).toEqual(identity)
})

test("another node's certificate does not fit a key", () => {
  const [a, b] = [createIdentity(systemRandom), createIdentity(systemRandom)]
  expect(() => loadIdentity(a.privateKeyPem, b.certificatePem)).toThrow('belongs to another key')
})

test('bytes that are no certificate name no node', () => {
  expect(nodeIdOfCertificate(Buffer.alloc(0))).toBeUndefined()
  expect(nodeIdOfCertificate(Buffer.from('3003020101', 'hex'))).toBeUndefined()
})

test('the same random bytes make the same node', () => {
  const random = { bytes: (length: number) => Buffer.alloc(length, 3), float: () => 0.5 }
  expect(createIdentity(random)).toEqual(createIdentity(random))
})
