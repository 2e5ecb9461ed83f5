import { createEffect, onCleanup, onMount } from 'solid-js'
import uPlot from 'uplot'
import 'uplot/dist/uPlot.min.css'

export interface Series {
  readonly name: string
  readonly values: readonly (number | null)[]
}

/** Colours that can be told apart, also by those who do not see all of them; one per node, used again after eight. */
const COLOURS = ['#0b7a6c', '#c2570c', '#4169c9', '#9c2f8f', '#7a6a00', '#c02a4b', '#3c7d2a', '#6b5bd2']
const HEIGHT_PX = 180
/** The shortest time that a plot shows, in seconds. */
const SECONDS_MIN = 60

function span(times: readonly number[]): [number, number] {
  const last = times.at(-1) ?? Date.now() / 1000
  return [Math.min(times[0] ?? last, last - SECONDS_MIN), last]
}

/** A plot over time. `times` are in seconds since the epoch. */
export function Plot(props: {
  title: string
  times: readonly number[]
  series: readonly Series[]
  format: (value: number) => string
}) {
  let place!: HTMLDivElement
  let plot: uPlot | undefined
  const names = () => props.series.map(({ name }) => name).join('\n')
  const data = () =>
    [props.times, ...props.series.map(({ values }) => values)] as unknown as uPlot.AlignedData
  const draw = () => {
    plot?.destroy()
    const text = getComputedStyle(place).color
    const axis = { stroke: text, grid: { stroke: 'rgb(128 128 128 / 20%)' } }
    plot = new uPlot(
      {
        width: place.clientWidth,
        height: HEIGHT_PX,
        cursor: { y: false },
        legend: { live: true },
        scales: {
          // By the times themselves: with one of them, or none, uPlot would show years.
          x: { range: () => span(props.times) },
          y: { range: (_, __, most) => [0, most > 0 ? most * 1.1 : 1] },
        },
        axes: [axis, { ...axis, size: 70, values: (_, ticks) => ticks.map((tick) => props.format(tick)) }],
        series: [
          {},
          ...props.series.map(({ name }, i) => ({
            label: name,
            stroke: COLOURS[i % COLOURS.length]!,
            width: 1.5,
            value: (_: uPlot, value: number | null) => (value === null ? '' : props.format(value)),
          })),
        ],
      },
      data(),
      place,
    )
  }
  onMount(() => {
    draw()
    const resized = new ResizeObserver(() => plot?.setSize({ width: place.clientWidth, height: HEIGHT_PX }))
    resized.observe(place)
    // The texts of its axes are drawn in the colour that the page had.
    const isDark = matchMedia('(prefers-color-scheme: dark)')
    isDark.addEventListener('change', draw)
    onCleanup(() => {
      isDark.removeEventListener('change', draw)
      resized.disconnect()
      plot?.destroy()
    })
  })
  let drawn = names()
  createEffect(() => {
    const now = names()
    if (now !== drawn) draw()
    else plot?.setData(data())
    drawn = now
  })
  return (
    <figure class="card plot">
      <figcaption>{props.title}</figcaption>
      <div ref={place} aria-hidden="true" />
    </figure>
  )
}
