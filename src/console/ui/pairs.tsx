import { Index } from 'solid-js'
import { t } from '../texts/texts'

type Pair = readonly [name: string, value: string]

/** Names and values, one pair a line, with a line to add one. */
export function PairsEditor(props: { pairs: readonly Pair[]; onChange: (pairs: readonly Pair[]) => void }) {
  const set = (index: number, pair: Pair) =>
    props.onChange(props.pairs.map((each, i) => (i === index ? pair : each)))
  return (
    <>
      <Index each={props.pairs}>
        {(pair, i) => (
          <div class="inline">
            <input
              value={pair()[0]}
              required
              aria-label={t('pair.name', { number: i + 1 })}
              placeholder={t('name')}
              onInput={(event) => set(i, [event.currentTarget.value, pair()[1]])}
            />
            <input
              value={pair()[1]}
              aria-label={t('pair.value', { number: i + 1 })}
              placeholder={t('pair.value-short')}
              onInput={(event) => set(i, [pair()[0], event.currentTarget.value])}
            />
            <button
              type="button"
              class="icon-button"
              aria-label={t('pair.remove', { number: i + 1 })}
              onClick={() => props.onChange(props.pairs.filter((_, index) => index !== i))}
            >
              ✕
            </button>
          </div>
        )}
      </Index>
      <button type="button" class="button" onClick={() => props.onChange([...props.pairs, ['', '']])}>
        {t('pair.add')}
      </button>
    </>
  )
}
