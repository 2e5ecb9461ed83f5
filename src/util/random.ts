/** The only source of randomness below src/platform; seeded in tests. */
export interface Random {
  /** `length` random bytes, fit for ids and secrets. */
  bytes(length: number): Buffer
  /** A number in [0, 1), for jitter and choices. */
  float(): number
}
