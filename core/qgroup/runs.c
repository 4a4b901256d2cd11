// SPDX-License-Identifier: MIT
#include "core/qgroup/runs.h"

#include <errno.h>
#include <sched.h>
#include <stdbool.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/base/plant.h"

/*
 * The word: 0 is empty; with SINGLE, one run (begin in bits 1 to 31, end in the
 * upper half); otherwise the address of a list, with LOCKED while somebody
 * changes it. Addresses of the allocator are multiples of 16.
 */
#define SINGLE 1ULL
#define LOCKED 2ULL

struct runs_list {
	uint32_t count;
	uint32_t capacity;
	struct run runs[];
};

#define FIRST_CAPACITY 4U
#define SPINS_BEFORE_YIELD 100U

static uint64_t word_of_run(struct run run)
{
	return SINGLE | (uint64_t)run.begin << 1 | (uint64_t)run.end << 32;
}

static struct run run_of_word(uint64_t word)
{
	struct run run = { (uint32_t)word >> 1, (uint32_t)(word >> 32) };

	return run;
}

static struct runs_list *list_of_word(uint64_t word)
{
	return (struct runs_list *)(uintptr_t)(word & ~LOCKED);
}

static struct runs_list *list_resize(struct runs_list *list, uint32_t capacity)
{
	size_t bytes = sizeof(*list) + capacity * sizeof(struct run);

	list = alloc_resize(list, 1, bytes);
	if (list)
		list->capacity = capacity;
	return list;
}

/* The first run that ends at `begin` or later: those before it stay as they are. */
static uint32_t list_position(const struct runs_list *list, uint32_t begin)
{
	uint32_t low = 0;
	uint32_t high = list->count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (list->runs[middle].end < begin)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Adds a run to a list that nobody else looks at. `*list` may move. */
static int list_add(struct runs_list **list, struct run run)
{
	struct runs_list *old = *list;
	uint32_t first = list_position(old, run.begin);
	uint32_t last = first; /* behind those that the run touches */

	while (last < old->count && old->runs[last].begin <= run.end)
		last++;
	if (last > first) {
		if (old->runs[first].begin < run.begin)
			run.begin = old->runs[first].begin;
		if (old->runs[last - 1].end > run.end)
			run.end = old->runs[last - 1].end;
	} else if (old->count == old->capacity) {
		old = list_resize(old, old->capacity * 2);
		if (!old)
			return -ENOMEM;
		*list = old;
	}
	memmove(&old->runs[first + 1], &old->runs[last], (old->count - last) * sizeof(struct run));
	old->runs[first] = run;
	old->count = old->count - (last - first) + 1;
	return 0;
}

/* From one run to a list of two. 0, -ENOMEM, or -EAGAIN if the word has changed. */
static int split_word(struct runs *runs, uint64_t word, struct run run)
{
	struct runs_list *list = list_resize(NULL, FIRST_CAPACITY);
	int ret;

	if (!list)
		return -ENOMEM;
	list->count = 1;
	list->runs[0] = run_of_word(word);
	ret = list_add(&list, run);
	/* RUNS.list: what stands in the list comes before its address. */
	if (!ret && !order_cas_release(&runs->word, &word, (uint64_t)(uintptr_t)list))
		ret = -EAGAIN;
	if (ret)
		alloc_free(list);
	return ret;
}

/* -EAGAIN: somebody else holds the list, or has put another in its place. */
static int add_to_list(struct runs *runs, uint64_t word, struct run run)
{
	struct runs_list *list = list_of_word(word);
	int ret;

	if (word & LOCKED)
		return -EAGAIN;
	if (!plant_armed("runs.unlocked-list")) {
		/* RUNS.list: what the last holder wrote in the list is seen. */
		if (!order_cas_acquire(&runs->word, &word, word | LOCKED))
			return -EAGAIN;
	}
	window_pass("runs.list-held");
	ret = list_add(&list, run);
	/* RUNS.list: what was written in the list comes before the lock is given back. */
	order_store_release(&runs->word, (uint64_t)(uintptr_t)list);
	return ret;
}

/* One try: 0, -ENOMEM, or -EAGAIN if somebody came between. */
static int try_add(struct runs *runs, struct run run)
{
	/* Relaxed: a run stands in the word itself; a list is looked at after locking only. */
	uint64_t word = order_load_relaxed(&runs->word);
	struct run has;

	window_pass("runs.loaded");
	if (word && !(word & SINGLE))
		return add_to_list(runs, word, run);
	if (word) {
		has = run_of_word(word);
		if (has.begin <= run.begin && run.end <= has.end)
			return 0;
		if (run.begin > has.end || run.end < has.begin)
			return split_word(runs, word, run);
		if (has.begin < run.begin)
			run.begin = has.begin;
		if (has.end > run.end)
			run.end = has.end;
	}
	/* Relaxed: the word is all there is. */
	return order_cas_relaxed(&runs->word, &word, word_of_run(run)) ? 0 : -EAGAIN;
}

int runs_add(struct runs *runs, struct run run)
{
	unsigned tries = 0;
	int ret;

	/* Ends: a lost try means that another thread has added its run, or is adding it. */
	while ((ret = try_add(runs, run)) == -EAGAIN)
		if (++tries % SPINS_BEFORE_YIELD == 0)
			sched_yield();
	return ret;
}

size_t runs_read(const struct runs *runs, struct run *single, const struct run **out)
{
	/* Relaxed: nobody adds any more, and the end of their job showed us what they wrote. */
	uint64_t word = order_load_relaxed(&runs->word);

	*out = single;
	if (!word)
		return 0;
	if (word & SINGLE) {
		*single = run_of_word(word);
		return 1;
	}
	*out = list_of_word(word)->runs;
	return list_of_word(word)->count;
}

void runs_clear(struct runs *runs)
{
	uint64_t word = order_load_relaxed(&runs->word); /* relaxed: as in runs_read */

	if (word && !(word & SINGLE))
		alloc_free(list_of_word(word));
	order_store_relaxed(&runs->word, 0);
}
