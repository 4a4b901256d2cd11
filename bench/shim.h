/* SPDX-License-Identifier: MIT */
/*
 * Google Benchmark for C: what a microbenchmark in this folder sees of it.
 *
 * A benchmark is a function that sets up, loops while bench_running, checks what
 * came out of the loop, and says how much it did. With several threads the
 * function runs in each; bench_thread tells which one it is. Reported are CPU time
 * of the whole, and the counters, averaged over the threads.
 */
#ifndef REFSTORM_BENCH_SHIM_H
#define REFSTORM_BENCH_SHIM_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct bench_state;

typedef void bench_fn(struct bench_state *state);

/* Names are part/variant; the number of threads is put behind them. Before main runs the benchmarks. */
void bench_register(const char *name, bench_fn *fn, int threads);

/* True as long as the loop is to go on; the time between the first and the last call counts. */
bool bench_running(struct bench_state *state);

/* 0 for the first thread. */
int bench_thread(const struct bench_state *state);

/* After the loop: so many things of `unit` were done by this thread; shown as CPU time of each. */
void bench_done(struct bench_state *state, const char *unit, uint64_t count);

/* After the loop: so many bytes were gone through by this thread. */
void bench_bytes(struct bench_state *state, uint64_t count);

/* After the loop: the result is wrong, and so the program fails. */
void bench_fail(struct bench_state *state, const char *why);

/* Every file of benchmarks has one function that registers them. */
void bench_register_disk(void);
void bench_register_sets(void);

#ifdef __cplusplus
}
#endif

#endif /* REFSTORM_BENCH_SHIM_H */
