import { t } from '../../texts/texts'

/** Says how many nodes were told to do something; nothing before that. */
export function Told(props: { nodes: number | undefined }) {
  return (
    <p class="muted" role="status">
      {props.nodes === undefined ? '' : t('nodes.told', { count: props.nodes })}
    </p>
  )
}
