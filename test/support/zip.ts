import { crc32 } from '@node-rs/crc32'

/** A ZIP archive of these files, not compressed. */
export function zipOf(files: Readonly<Record<string, string>>): Buffer {
  const locals: Buffer[] = []
  const entries: Buffer[] = []
  let offset = 0
  for (const [name, text] of Object.entries(files)) {
    const [nameBytes, content] = [Buffer.from(name), Buffer.from(text)]
    // Version, flags, method, time, date, CRC-32, both sizes, lengths of the name and of what is not there.
    const common = Buffer.alloc(26)
    common.writeUInt16LE(20, 0)
    common.writeUInt32LE(crc32(content), 10)
    common.writeUInt32LE(content.length, 14)
    common.writeUInt32LE(content.length, 18)
    common.writeUInt16LE(nameBytes.length, 22)
    const local = Buffer.concat([Buffer.from('PK\x03\x04'), common, nameBytes, content])
    const place = Buffer.alloc(14)
    place.writeUInt32LE(offset, 10)
    entries.push(Buffer.concat([Buffer.from('PK\x01\x02\x14\x00'), common, place, nameBytes]))
    locals.push(local)
    offset += local.length
  }
  const directory = Buffer.concat(entries)
  const end = Buffer.alloc(18)
  end.writeUInt16LE(entries.length, 4)
  end.writeUInt16LE(entries.length, 6)
  end.writeUInt32LE(directory.length, 8)
  end.writeUInt32LE(offset, 12)
  return Buffer.concat([...locals, directory, Buffer.from('PK\x05\x06'), end])
}

const allow = (Action: string[], Resource: string[]) => ({
  Version: '2012-10-17',
  Statement: [{ Effect: 'Allow', Action, Resource }],
})
const json = JSON.stringify
/** A variable of policies. */
const USERNAME = '$' + '{aws:username}'

/** Users of a MinIO as its export has them: of groups, with an access key, disabled, with rights to a part of a bucket. */
export const MINIO_EXPORT = {
  'iam-assets/policies.json': json({
    photos: allow(['s3:*'], ['arn:aws:s3:::photos', 'arn:aws:s3:::photos/*']),
    reading: allow(['s3:GetObject', 's3:ListBucket'], ['arn:aws:s3:::docs', 'arn:aws:s3:::docs/*']),
    part: allow(['s3:GetObject'], ['arn:aws:s3:::docs/public/*']),
    home: {
      Version: '2012-10-17',
      Statement: [
        ...allow(['s3:*'], [`arn:aws:s3:::photos/home/${USERNAME}/*`]).Statement,
        { Effect: 'Deny', Action: ['s3:DeleteObject'], Resource: ['arn:aws:s3:::photos/home/*/kept/*'] },
        {
          ...{ Effect: 'Allow', Action: ['s3:ListBucket'], Resource: ['arn:aws:s3:::photos'] },
          Condition: { StringLike: { 's3:prefix': [`home/${USERNAME}/*`] } },
        },
      ],
    },
  }),
  'iam-assets/users.json': json({
    alice: { secretKey: 'alice-secret-key', status: 'enabled' },
    bob: { secretKey: 'bob-secret-key', status: 'enabled' },
    carol: { secretKey: 'carol-secret-key', status: 'disabled' },
  }),
  'iam-assets/groups.json': json({ readers: { version: 1, status: 'enabled', members: ['alice'] } }),
  'iam-assets/svcaccts.json': json({
    ALICEAPP00000000: {
      ...{ parent: 'alice', accessKey: 'ALICEAPP00000000', secretKey: 'alice-app-secret', groups: null },
      ...{ claims: {}, status: 'on', name: 'app', description: '' },
      sessionPolicy: allow(['s3:GetObject', 's3:ListBucket'], ['arn:aws:s3:::*']),
    },
  }),
  'iam-assets/user_mappings.json': json({
    alice: { version: 1, policy: 'photos' },
    bob: { version: 1, policy: 'part,home' },
  }),
  'iam-assets/group_mappings.json': json({ readers: { version: 1, policy: 'reading' } }),
  'iam-assets/stsuser_mappings.json': json({}),
}
