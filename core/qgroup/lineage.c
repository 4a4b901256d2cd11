// SPDX-License-Identifier: MIT
#include "core/qgroup/lineage.h"

#include <errno.h>

#include "core/base/alloc.h"
#include "core/base/plant.h"

/* Labels lie between 1 and 2^62; the head has 0 and ends the circle. */
#define LABEL_BITS 62U
#define LABEL_LIMIT (1ULL << LABEL_BITS)
#define FIRST_CAPACITY 64U

int lineage_init(struct lineage *lineage)
{
	*lineage = (struct lineage){ 0 };
	lineage->elements = alloc_zeroed(FIRST_CAPACITY, sizeof(*lineage->elements));
	if (!lineage->elements)
		return -ENOMEM;
	lineage->capacity = FIRST_CAPACITY;
	lineage->used = 1;
	return 0;
}

void lineage_destroy(struct lineage *lineage)
{
	alloc_free(lineage->elements);
	*lineage = (struct lineage){ 0 };
}

/* Room for `more` elements. */
static int lineage_make_room(struct lineage *lineage, uint32_t more)
{
	struct lineage_element *larger;
	uint32_t capacity = lineage->capacity;

	if (lineage->used > INT32_MAX - more)
		return -E2BIG;
	if (lineage->used + more <= capacity)
		return 0;
	capacity *= 2;
	larger = alloc_resize(lineage->elements, capacity, sizeof(*larger));
	if (!larger)
		return -ENOMEM;
	lineage->elements = larger;
	lineage->capacity = capacity;
	return 0;
}

static uint64_t label_behind(const struct lineage *lineage, uint32_t element)
{
	uint32_t next = lineage->elements[element].next;

	return next ? lineage->elements[next].label : LABEL_LIMIT;
}

/*
 * Spreads labels evenly over the smallest range around `element` that is not too
 * full: one of 2^i labels, aligned, may hold (2/T)^i elements, with T = 1.5. The
 * whole range of 2^62 holds far more than 2^31, so the search ends.
 */
static void lineage_spread(struct lineage *lineage, uint32_t element)
{
	struct lineage_element *elements = lineage->elements;
	uint64_t label = elements[element].label;
	uint32_t first = element;
	uint32_t last = element;
	uint32_t count = 1;
	uint64_t low;
	uint64_t step;
	double most = 1.0;
	unsigned bits;

	for (bits = 1;; bits++) {
		uint64_t size = 1ULL << bits;

		most *= 2.0 / 1.5;
		low = label & ~(size - 1);
		while (elements[first].previous &&
		       elements[elements[first].previous].label >= low) {
			first = elements[first].previous;
			count++;
		}
		while (elements[last].next && elements[elements[last].next].label < low + size) {
			last = elements[last].next;
			count++;
		}
		/* One label before each element stays free, so that one can go anywhere. */
		if (((double)count < most && size / count > 2) || bits == LABEL_BITS) {
			step = size / count;
			break;
		}
	}
	for (label = low + step / 2; count--; label += step) {
		elements[first].label = label;
		first = elements[first].next;
	}
}

/* Links a new element behind `before`, for which there is room. */
static uint32_t lineage_insert(struct lineage *lineage, uint32_t before, uint64_t root)
{
	struct lineage_element *elements = lineage->elements;
	uint32_t fresh = lineage->unused;
	uint32_t after;

	if (fresh)
		lineage->unused = elements[fresh].next;
	else
		fresh = lineage->used++;
	if (label_behind(lineage, before) - elements[before].label < 2)
		lineage_spread(lineage,
			       before); /* never the head: behind it goes the first of all */
	after = elements[before].next;
	elements[fresh].label = elements[before].label +
				(label_behind(lineage, before) - elements[before].label) / 2;
	elements[fresh].root = root;
	elements[fresh].previous = before;
	elements[fresh].next = after;
	elements[before].next = fresh;
	elements[after].previous = fresh; /* the head's `previous` is the last of the list */
	lineage->count++;
	return fresh;
}

int lineage_add_family(struct lineage *lineage, uint64_t root, uint32_t *element)
{
	int ret = lineage_make_room(lineage, 2);

	if (ret)
		return ret;
	*element = lineage_insert(lineage, lineage->elements[0].previous, root);
	if (!plant_armed("lineage.end-missing"))
		lineage_insert(lineage, *element, LINEAGE_END);
	return 0;
}

int lineage_add_snapshot(struct lineage *lineage, uint32_t source, uint64_t root, uint32_t *element)
{
	int ret = lineage_make_room(lineage, 1);

	if (ret)
		return ret;
	*element = lineage_insert(lineage, source, root);
	return 0;
}

void lineage_remove(struct lineage *lineage, uint32_t element)
{
	struct lineage_element *elements = lineage->elements;
	struct lineage_element *gone = &elements[element];

	elements[gone->previous].next = gone->next;
	elements[gone->next].previous = gone->previous;
	gone->next = lineage->unused;
	lineage->unused = element;
	lineage->count--;
}
