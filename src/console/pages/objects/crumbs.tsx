import { A } from '@solidjs/router'
import { For } from 'solid-js'
import { t } from '../../texts/texts'
import { folderPlace } from './place'
import { visible } from './visible'

/** Where one is: the bucket and the folders, each a link. */
export function Crumbs(props: { bucket: string; folder: string }) {
  const parts = () => props.folder.split('/').filter((_, i, all) => i < all.length - 1)
  return (
    <nav class="crumbs" aria-label={t('object.path')}>
      <h1>
        <A href={folderPlace(props.bucket, '')}>{props.bucket}</A>
        <For each={parts()}>
          {(part, i) => (
            <>
              {' / '}
              <A
                href={folderPlace(
                  props.bucket,
                  `${parts()
                    .slice(0, i() + 1)
                    .join('/')}/`,
                )}
              >
                {visible(part)}
              </A>
            </>
          )}
        </For>
      </h1>
    </nav>
  )
}
