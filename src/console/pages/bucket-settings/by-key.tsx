import { documentsByKey } from '../../net/bucket-documents'
import { checksum, s3, s3Xml, textOf } from '../../net/s3'
import { createLoad, Load } from '../../ui/load'
import { Documents } from './documents'
import { Removal } from './removal'
import { Versioning } from './versioning'

/** Settings of a bucket for the owner of an access key, by the S3 API; the store tells what the key may not. */
export function SettingsByKey(props: { bucket: string }) {
  const query = { versioning: '' }
  const versioning = createLoad(
    () => props.bucket,
    async (bucket) => {
      const { documentElement } = await s3Xml({ bucket, query })
      return (textOf(documentElement, 'Status').toLowerCase() || 'off') as 'off' | 'enabled' | 'suspended'
    },
  )
  const set = async (state: string) => {
    const body = `<VersioningConfiguration><Status>${state}</Status></VersioningConfiguration>`
    await s3({ method: 'PUT', bucket: props.bucket, query, body, headers: checksum(body) })
    versioning.reload()
  }
  const commandOf = (state: string) =>
    `aws s3api put-bucket-versioning --bucket ${props.bucket} --versioning-configuration Status=${state}`
  return (
    <>
      <Load of={versioning}>
        {(state) => <Versioning state={state()} onSet={set} commandOf={commandOf} />}
      </Load>
      <Documents bucket={props.bucket} documents={documentsByKey(props.bucket)} />
      <Removal
        name={props.bucket}
        command={`aws s3 rb s3://${props.bucket}`}
        remove={() => s3({ method: 'DELETE', bucket: props.bucket })}
      />
    </>
  )
}
