/* SPDX-License-Identifier: MIT */
#include "core/base/array.h"

#include "core/base/alloc.h"

#define ARRAY_FIRST 16

void *array_grow(void *array, size_t count, size_t more, size_t *capacity, size_t bytes)
{
	size_t larger = *capacity ? *capacity : ARRAY_FIRST;
	size_t wanted;

	if (__builtin_add_overflow(count, more, &wanted))
		return NULL;
	if (wanted <= *capacity)
		return array;
	while (larger < wanted)
		if (__builtin_mul_overflow(larger, 2, &larger))
			return NULL;
	array = alloc_resize(array, larger, bytes);
	if (array)
		*capacity = larger;
	return array;
}
