/* SPDX-License-Identifier: MIT */
/* What the system says of the machine, each as a new JSON value: null where it says nothing. One thread. */
#ifndef REFSTORM_BENCH_RUN_MACHINE_H
#define REFSTORM_BENCH_RUN_MACHINE_H

#include <jansson.h>

json_t *run_machine_cpu(void);      /* its name */
json_t *run_machine_governor(void); /* of the first CPU's frequency */
json_t *run_machine_clock(void);    /* what the monotonic clock is read from */
json_t *run_machine_memory(void);   /* {"bytes", "huge_pages"} */
json_t *
run_machine_virtual(void); /* the product that the machine is simulated by; null for a real one */
json_t *run_machine_paranoid(void); /* what perf may do without root: a number */

#endif /* REFSTORM_BENCH_RUN_MACHINE_H */
