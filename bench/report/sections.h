/* SPDX-License-Identifier: MIT */
/* The parts of the page, each from its heading on. Each writes nothing if there is nothing that it could show. */
#ifndef REFSTORM_BENCH_REPORT_SECTIONS_H
#define REFSTORM_BENCH_REPORT_SECTIONS_H

#include "bench/report/figure.h"

/* What a look at the numbers should remember: up to three figures, each with what it compares. */
void section_headlines(struct page *page);

/* A sweep: scaling, cost, latency, stalls, locks, all points. `at` numbers it, for its id. */
void section_bench(struct page *page, const struct input_file *file, size_t at);
void section_latency(struct page *page, const struct input_file *file, const char *workload);
void section_profile(struct page *page);
void section_stress(struct page *page);
void section_verify(struct page *page);

/* How many points of all sweeps failed. */
size_t section_failed_count(const struct input *input);

/* Points that failed, and files that could not be used. */
void section_failures(struct page *page);

/* The run records, side by side. */
void section_runs(struct page *page);

/* The table of the locks of one object, which has them at "locks". */
void section_locks(struct page *page, const char *caption, const json_t *object);

/* "2 threads", "1 snapshot": a number and what it counts. */
void section_count(FILE *to, double count, const char *what);

/* The style sheet. */
extern const char page_style[];

#endif /* REFSTORM_BENCH_REPORT_SECTIONS_H */
