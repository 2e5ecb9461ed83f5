/** 256 partitions; the first byte of a partition key's hash. */
export const PARTITION_COUNT = 256
