/* SPDX-License-Identifier: MIT */
/* What producers.c, the threads, and seats.c, whoever looks after them, share. */
#ifndef REFSTORM_STRESS_RECORD_PRODUCERS_IMPL_H
#define REFSTORM_STRESS_RECORD_PRODUCERS_IMPL_H

#include "stress/record/producers.h"

/* A thread of a seat, its argument. */
void *producers_main(void *argument);

/* For producers_know. */
void producers_learn(int thread);

#endif /* REFSTORM_STRESS_RECORD_PRODUCERS_IMPL_H */
