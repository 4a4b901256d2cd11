/* SPDX-License-Identifier: MIT */
/* Numbers for names: equal keys have one number, counted from 0. One thread adds; then any reads. */
#ifndef REFSTORM_WORKLOADS_SCRIPT_NAMES_H
#define REFSTORM_WORKLOADS_SCRIPT_NAMES_H

#include <stddef.h>
#include <stdint.h>

/* All zero is an empty one. */
struct script_names {
	struct script_names_key **keys;
	size_t count;
	size_t capacity;
	uint32_t *slots; /* numbers and 1; 0 is free */
	size_t slot_count;
};

/* The number of the key of `bytes` bytes, which is copied. 0, -ENOMEM, or -EOVERFLOW. */
int script_names_add(struct script_names *names, const void *key, size_t bytes, uint32_t *number)
	__attribute__((warn_unused_result));

/* The key, with a byte 0 behind it; aligned for any type. */
const void *script_names_at(const struct script_names *names, uint32_t number);

void script_names_destroy(struct script_names *names);

#endif /* REFSTORM_WORKLOADS_SCRIPT_NAMES_H */
