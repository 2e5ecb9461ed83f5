import { Counter, Gauge, type Registry } from './prom-client.js'

/** Labels of a sample, by name. */
export type Labels = Record<string, string | number>
/** Tells the samples of a family, as of now. */
export type Collect = (tell: (labels: Labels, value: number) => void) => void

/** Upper bounds of the histograms' buckets, in seconds. */
export const SECONDS_BUCKETS = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60,
]

/** A gauge whose samples are read when the metrics are asked for. */
export function gauge(
  registry: Registry,
  name: string,
  help: string,
  labelNames: string[],
  collect: Collect,
): void {
  new Gauge({
    ...{ name, help, labelNames, registers: [registry] },
    collect() {
      this.reset()
      collect((labels, value) => this.set(labels, value))
    },
  })
}

/** A counter that is kept elsewhere, and read when the metrics are asked for. */
export function counter(
  registry: Registry,
  name: string,
  help: string,
  labelNames: string[],
  collect: Collect,
): void {
  new Counter({
    ...{ name, help, labelNames, registers: [registry] },
    collect() {
      this.reset()
      collect((labels, value) => this.inc(labels, value))
    },
  })
}
