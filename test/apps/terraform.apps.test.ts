/** Terraform and OpenTofu: state in a bucket, with its lock file and with encryption. */
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { GetObjectCommand, HeadObjectCommand, ListObjectsV2Command } from '@aws-sdk/client-s3'
import { expect, test } from 'vitest'
import { until } from '../../bench/stores/server-process.js'
import { pasted } from './kit/page.js'
import { goInstallWith, installed, onPath } from './kit/programs.js'
import { attempt, must, scratch } from './kit/run.js'
import { application } from './kit/store.js'

const OPENTOFU = 'github.com/opentofu/opentofu/cmd/tofu@v1.12.6'
/** As in the go.mod of that version. */
const HCL = 'github.com/hashicorp/hcl/v2=github.com/opentofu/hcl/v2@v2.20.2-0.20251021132045-587d123c2828'
const programs = {
  Terraform: await installed(async () => onPath('terraform')),
  OpenTofu: await installed(async () => process.env.TOFU ?? (await goInstallWith('tofu', OPENTOFU, [HCL]))),
}

/** A resource that waits, when it is made, until the file `go` is there. */
const RESOURCE = `
variable "name" { default = "first" }
variable "wait" { default = false }
resource "terraform_data" "one" {
  input            = var.name
  triggers_replace = var.name
  provisioner "local-exec" {
    command = var.wait ? "touch held; while [ ! -e go ]; do sleep 0.05; done" : "true"
  }
}
output "name" { value = terraform_data.one.output }
`

for (const [name, program] of Object.entries(programs)) {
  application(name, program, ({ tools, nodes, store }) => {
    async function workspace() {
      const home = await store().home('tfstate')
      const cwd = scratch()
      writeFileSync(join(cwd, 'main.tf'), pasted('terraform.md', 'hcl', home) + RESOURCE)
      const env = { ...home.env, TF_IN_AUTOMATION: '1', CHECKPOINT_DISABLE: '1' }
      const tf = (...args: string[]) => must(tools, [...args, '-no-color'], { env, cwd })
      const listeningTo = (onSaid: ((stdout: string) => void) | undefined, args: string[]) => {
        const all = ['apply', '-auto-approve', '-input=false', '-no-color', ...args]
        return attempt(tools, all, { env, cwd, ...(onSaid && { onSaid }) })
      }
      const apply = (...args: string[]) => listeningTo(undefined, args)
      await tf('init', '-input=false')
      const stateObject = { Bucket: home.bucket, Key: 'network/terraform.tfstate' }
      return { home, cwd, env, tf, apply, listeningTo, stateObject }
    }

    test('keeps its state, encrypted, and removes its lock', async () => {
      const { home, tf, apply, stateObject } = await workspace()
      expect(await apply()).toMatchObject({ code: 0 })
      expect(await tf('output', '-raw', 'name')).toBe('first')
      const head = await home.s3.send(new HeadObjectCommand(stateObject))
      expect(head.ServerSideEncryption).toBe('AES256')
      expect(await apply('-var', 'name=second')).toMatchObject({ code: 0 })
      const { Body } = await home.s3.send(new GetObjectCommand(stateObject))
      expect(JSON.parse(await Body!.transformToString()).outputs.name.value).toBe('second')
      const { Contents } = await home.s3.send(new ListObjectsV2Command({ Bucket: home.bucket }))
      expect(Contents!.map(({ Key }) => Key)).toEqual([stateObject.Key])
      expect((await apply('-destroy')).code).toBe(0)
    })

    test('while one changes the state, another is refused, and waits if it is told to', async () => {
      const { cwd, tf, apply, listeningTo } = await workspace()
      const first = apply('-var', 'wait=true')
      await until('the lock', 120_000, () => existsSync(join(cwd, 'held')))
      const refused = await apply('-var', 'name=second')
      expect(refused.code).toBe(1)
      expect(refused.stderr).toMatch(/Error acquiring the state lock/)
      const third = ['-var', 'name=third', '-lock-timeout=120s']
      const onSaid = (stdout: string) => {
        if (/Acquiring state lock/.test(stdout)) writeFileSync(join(cwd, 'go'), '')
      }
      const waiting = listeningTo(onSaid, third)
      expect((await first).code).toBe(0)
      let { code, stderr } = await waiting
      // It gives up rather than wait if the lock goes between two questions of its own: whether it gets it, and who has it.
      if (/unable to retrieve file/.test(stderr)) ({ code, stderr } = await apply(...third))
      expect(code, stderr).toBe(0)
      expect(await tf('output', '-raw', 'name')).toBe('third')
    })

    test('a lock that was left behind is told, and taken away by its id', async () => {
      const { home, cwd, tf, apply } = await workspace()
      const holder = apply('-var', 'wait=true')
      await until('the lock', 120_000, () => existsSync(join(cwd, 'held')))
      const Key = 'network/terraform.tfstate.tflock'
      const { Body } = await home.s3.send(new GetObjectCommand({ Bucket: home.bucket, Key }))
      const { ID } = JSON.parse(await Body!.transformToString()) as { ID: string }
      await tf('force-unlock', '-force', ID)
      await expect(home.s3.send(new HeadObjectCommand({ Bucket: home.bucket, Key }))).rejects.toMatchObject({
        name: 'NotFound',
      })
      writeFileSync(join(cwd, 'go'), '')
      // The first holder stores its state all the same, and says that its lock was gone.
      expect((await holder).stderr).toMatch(/state lock|lock/i)
      expect((await apply('-var', 'name=second')).code).toBe(0)
    })

    test.runIf(nodes === 3)('works while a node is down', async () => {
      const { tf, apply } = await workspace()
      await store().loseNode()
      expect(await apply('-var', 'name=alone')).toMatchObject({ code: 0 })
      expect(await tf('output', '-raw', 'name')).toBe('alone')
      await store().restoreNode()
      expect(await apply('-destroy')).toMatchObject({ code: 0 })
    })
  })
}
