/* SPDX-License-Identifier: MIT */
#include "stress/record/shared.h"

#include <stddef.h>
#include <sys/mman.h>

/* Mapped and not allocated: no allocator's memory is shared after a fork. */
struct shared *shared_create(unsigned seats)
{
	struct shared *shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
				     MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (shared == MAP_FAILED)
		return NULL;
	shared->seat_count = seats;
	return shared;
}

void shared_destroy(struct shared *shared)
{
	if (shared)
		munmap(shared, sizeof(*shared));
}

uint64_t shared_deltas(const struct shared *shared)
{
	uint64_t sum = 0;
	unsigned at;

	for (at = 0; at < shared->seat_count; at++)
		sum += order_load_relaxed(&shared->seats[at].deltas);
	return sum;
}

uint64_t shared_operations(const struct shared *shared)
{
	uint64_t sum = 0;
	unsigned at;

	for (at = 0; at < shared->seat_count; at++)
		sum += order_load_relaxed(&shared->seats[at].operations);
	return sum;
}
