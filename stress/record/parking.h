/* SPDX-License-Identifier: MIT */
/* Where threads rest while all sums are compared. Who may call: parking_point those that park. */
#ifndef REFSTORM_STRESS_RECORD_PARKING_H
#define REFSTORM_STRESS_RECORD_PARKING_H

#include "stress/record/stress.h"

void parking_init(struct parking *parking);
void parking_destroy(struct parking *parking);

/* From now on threads park; from now on they go on. */
void parking_ask(struct parking *parking);
void parking_release(struct parking *parking);

/* How many are parked, or have gone for good. */
unsigned parking_count(struct parking *parking);

/* One less will come. */
void parking_gone(struct parking *parking);

void parking_rest(struct parking *parking);

static inline bool parking_is_asked(const struct parking *parking)
{
	return __builtin_expect(order_load_relaxed(&parking->asked) != 0, 0);
}

/* Rests if it is asked to. */
static inline void parking_point(struct parking *parking)
{
	if (parking_is_asked(parking))
		parking_rest(parking);
}

#endif /* REFSTORM_STRESS_RECORD_PARKING_H */
