;; CRC-64/NVME (reflected polynomial 0x9a6c9329ac4bc9b5), slicing by 16.
;; Memory: 16 tables of 256 i64 from 0; the caller's data from 65536 on (64 KiB).
(module
  (memory (export "memory") 2)

  (func $init (local $i i32) (local $k i32) (local $crc i64)
    ;; table 0: one byte, bit by bit
    (loop $bytes
      (local.set $crc (i64.extend_i32_u (local.get $i)))
      (local.set $k (i32.const 0))
      (loop $bits
        (local.set $crc (i64.xor
          (i64.shr_u (local.get $crc) (i64.const 1))
          (i64.and
            (i64.const 0x9a6c9329ac4bc9b5)
            (i64.sub (i64.const 0) (i64.and (local.get $crc) (i64.const 1))))))
        (br_if $bits (i32.lt_u (local.tee $k (i32.add (local.get $k) (i32.const 1))) (i32.const 8))))
      (i64.store (i32.shl (local.get $i) (i32.const 3)) (local.get $crc))
      (br_if $bytes (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 256))))
    ;; each further table: the one before, with one more zero byte behind it
    (loop $rest
      (local.set $crc (i64.load (i32.sub (i32.shl (local.get $i) (i32.const 3)) (i32.const 2048))))
      (i64.store (i32.shl (local.get $i) (i32.const 3)) (i64.xor
        (i64.shr_u (local.get $crc) (i64.const 8))
        (i64.load (i32.shl (i32.wrap_i64 (i64.and (local.get $crc) (i64.const 255))) (i32.const 3)))))
      (br_if $rest (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 4096)))))
  (start $init)

  ;; The register after the bytes from $at to $end; inversion at both ends is the caller's.
  (func (export "update") (param $crc i64) (param $at i32) (param $end i32) (result i64) (local $x i64) (local $y1 i64)
    (block $done
      (loop $words
        (br_if $done (i32.lt_u (i32.sub (local.get $end) (local.get $at)) (i32.const 16)))
        (local.set $x (i64.xor (local.get $crc) (i64.load (local.get $at))))
        (local.set $y1 (i64.load offset=8 (local.get $at)))
        (local.set $crc (i64.xor
        (i64.xor
        (i64.xor
        (i64.xor
        (i64.xor
        (i64.xor
        (i64.xor
        (i64.xor
        (i64.xor
        (i64.xor
        (i64.xor
        (i64.xor
        (i64.xor
        (i64.xor
        (i64.xor
        (i64.load offset=30720 (i32.shl (i32.wrap_i64 (i64.and (local.get $x) (i64.const 255))) (i32.const 3)))
        (i64.load offset=28672 (i32.shl (i32.wrap_i64 (i64.and (i64.shr_u (local.get $x) (i64.const 8)) (i64.const 255))) (i32.const 3))))
        (i64.load offset=26624 (i32.shl (i32.wrap_i64 (i64.and (i64.shr_u (local.get $x) (i64.const 16)) (i64.const 255))) (i32.const 3))))
        (i64.load offset=24576 (i32.shl (i32.wrap_i64 (i64.and (i64.shr_u (local.get $x) (i64.const 24)) (i64.const 255))) (i32.const 3))))
        (i64.load offset=22528 (i32.shl (i32.wrap_i64 (i64.and (i64.shr_u (local.get $x) (i64.const 32)) (i64.const 255))) (i32.const 3))))
        (i64.load offset=20480 (i32.shl (i32.wrap_i64 (i64.and (i64.shr_u (local.get $x) (i64.const 40)) (i64.const 255))) (i32.const 3))))
        (i64.load offset=18432 (i32.shl (i32.wrap_i64 (i64.and (i64.shr_u (local.get $x) (i64.const 48)) (i64.const 255))) (i32.const 3))))
        (i64.load offset=16384 (i32.shl (i32.wrap_i64 (i64.and (i64.shr_u (local.get $x) (i64.const 56)) (i64.const 255))) (i32.const 3))))
        (i64.load offset=14336 (i32.shl (i32.wrap_i64 (i64.and (local.get $y1) (i64.const 255))) (i32.const 3))))
        (i64.load offset=12288 (i32.shl (i32.wrap_i64 (i64.and (i64.shr_u (local.get $y1) (i64.const 8)) (i64.const 255))) (i32.const 3))))
        (i64.load offset=10240 (i32.shl (i32.wrap_i64 (i64.and (i64.shr_u (local.get $y1) (i64.const 16)) (i64.const 255))) (i32.const 3))))
        (i64.load offset=8192 (i32.shl (i32.wrap_i64 (i64.and (i64.shr_u (local.get $y1) (i64.const 24)) (i64.const 255))) (i32.const 3))))
        (i64.load offset=6144 (i32.shl (i32.wrap_i64 (i64.and (i64.shr_u (local.get $y1) (i64.const 32)) (i64.const 255))) (i32.const 3))))
        (i64.load offset=4096 (i32.shl (i32.wrap_i64 (i64.and (i64.shr_u (local.get $y1) (i64.const 40)) (i64.const 255))) (i32.const 3))))
        (i64.load offset=2048 (i32.shl (i32.wrap_i64 (i64.and (i64.shr_u (local.get $y1) (i64.const 48)) (i64.const 255))) (i32.const 3))))
        (i64.load offset=0 (i32.shl (i32.wrap_i64 (i64.and (i64.shr_u (local.get $y1) (i64.const 56)) (i64.const 255))) (i32.const 3)))))
        (local.set $at (i32.add (local.get $at) (i32.const 16)))
        (br $words)))
    (block $out
      (loop $tail
        (br_if $out (i32.ge_u (local.get $at) (local.get $end)))
        (local.set $crc (i64.xor
          (i64.shr_u (local.get $crc) (i64.const 8))
          (i64.load (i32.shl
            (i32.wrap_i64 (i64.and (i64.xor (local.get $crc) (i64.load8_u (local.get $at))) (i64.const 255)))
            (i32.const 3)))))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br $tail)))
    (local.get $crc))

  ;; a * b modulo a reflected polynomial; $bit is the polynomial's top bit (x^0). For combining checksums.
  (func (export "multiply")
    (param $a i64) (param $b i64) (param $poly i64) (param $bit i64) (result i64) (local $product i64)
    (loop $next
      (if (i64.ne (i64.and (local.get $a) (local.get $bit)) (i64.const 0))
        (then (local.set $product (i64.xor (local.get $product) (local.get $b)))))
      (local.set $b (i64.xor
        (i64.shr_u (local.get $b) (i64.const 1))
        (i64.and (local.get $poly) (i64.sub (i64.const 0) (i64.and (local.get $b) (i64.const 1))))))
      (br_if $next (i64.ne (local.tee $bit (i64.shr_u (local.get $bit) (i64.const 1))) (i64.const 0))))
    (local.get $product)))
