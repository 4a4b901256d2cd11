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

/*
 * The same; bench_argument gives the function `argument`. Where one round of the loop takes longer
 * than half a second of CPU time, there is one round only.
 */
void bench_register_with(const char *name, bench_fn *fn, const void *argument, int threads);
const void *bench_argument(const struct bench_state *state);

/* True as long as the loop is to go on; the time between the first and the last call counts. */
bool bench_running(struct bench_state *state);

/* Inside the loop: what this thread does until bench_resume does not count in what bench_done shows. */
void bench_pause(struct bench_state *state);
void bench_resume(struct bench_state *state);

/* 0 for the first thread. */
int bench_thread(const struct bench_state *state);
int bench_threads(const struct bench_state *state);

/* After the loop: so many things of `unit` were done by this thread; shown as CPU time of each. */
void bench_done(struct bench_state *state, const char *unit, uint64_t count);

/* After the loop: a figure of its own; of several threads, their mean. */
void bench_figure(struct bench_state *state, const char *name, double value);

/* After the loop: so many bytes were gone through by this thread. */
void bench_bytes(struct bench_state *state, uint64_t count);

/* After the loop: the result is wrong, and so the program fails. */
void bench_fail(struct bench_state *state, const char *why);

/* Every file of benchmarks has one function that registers them. */
void bench_register_batch(void);
void bench_register_cut(void);
void bench_register_disk(void);
void bench_register_forest(void);
void bench_register_ledger(void);
void bench_register_ledger_large(void);
void bench_register_path(void);
void bench_register_quota(void);
void bench_register_quota_changed(void);
void bench_register_record(void);
void bench_register_sets(void);
void bench_register_snapshots(void);

#ifdef __cplusplus
}
#endif

#endif /* REFSTORM_BENCH_SHIM_H */
