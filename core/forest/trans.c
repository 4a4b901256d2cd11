/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE 1
#include "core/forest/trans.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "core/base/clock.h"
#include "core/base/error.h"
#include "core/base/plant.h"
#include "core/forest/futex.h"

/* A transaction with more deltas than this is ended by whoever joins next: memory is bounded. */
#define TRANS_DELTAS_MAX (UINT64_C(4) << 20)
/* Copies that a writer counts by itself. */
#define TRANS_COPIES 64U

static bool trans_is_aborted(const struct rs_forest *forest)
{
	/* Relaxed: seen a little later, it lets one more operation try. */
	return order_load_relaxed(&forest->aborted) != 0;
}

int trans_abort(struct rs_forest *forest, int code, const char *format, ...)
{
	uint32_t none = 0;
	struct rs_error error = RS_ERROR_INIT;
	va_list arguments;
	char text[sizeof(error.what)];

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	error_set(&error, code, "%s", text);
	/* Relaxed: only decides who writes the reason. */
	if (order_cas_relaxed(&forest->aborting, &none, 1)) {
		forest->abort_error = error;
		/* TRANS.aborted: the reason. */
		order_store_release(&forest->aborted, 1);
		return code;
	}
	/*
	 * Before this operation ends it must be seen that it is aborted. Ends: the other one has two stores
	 * left. TRANS.aborted: sees the reason.
	 */
	while (!order_load_acquire(&forest->aborted))
		order_pause();
	return code;
}

int rs_forest_aborted(struct rs_forest *forest, struct rs_error *error)
{
	/* TRANS.aborted: sees the reason. */
	if (!order_load_acquire(&forest->aborted))
		return 0;
	if (error)
		*error = forest->abort_error;
	return forest->abort_error.code;
}

void trans_dirty(struct rs_subvol *root)
{
	struct rs_forest *forest = root->forest;

	if (root->dirty)
		return;
	root->dirty = true;
	lock_acquire(&forest->dirty_lock);
	root->dirty_next = forest->dirty;
	forest->dirty = root;
	lock_release(&forest->dirty_lock);
}

int trans_reserve(struct rs_writer *writer, unsigned blocks)
{
	return space_blocks_reserve(&writer->windows[SPACE_METADATA], blocks);
}

static void trans_wait(struct rs_forest *forest)
{
	/* TRANS.committing: sees what the commit did. */
	while (order_load_acquire(&forest->committing))
		futex_wait(&forest->committing, 1);
}

bool trans_make_room(struct rs_writer *writer, int result, bool *tried)
{
	if (result != -ENOSPC || *tried)
		return false;
	*tried = true;
	return !trans_commit(writer);
}

/* An operation has joined that waited for a commit since then. */
static __attribute__((noinline)) void trans_waited(struct rs_forest *forest, uint64_t since_ns)
{
	uint64_t waited_ns = clock_now_ns() - since_ns;
	/* Relaxed, here and below: statistics. */
	uint64_t longest_ns = order_load_relaxed(&forest->join_wait_ns_max);

	order_fetch_add_relaxed(&forest->join_waits, 1);
	/* Ends: each turn more finds a longer one. */
	while (waited_ns > longest_ns &&
	       !order_cas_weak_relaxed(&forest->join_wait_ns_max, &longest_ns, waited_ns))
		;
}

int trans_join(struct rs_writer *writer, unsigned blocks)
{
	struct rs_forest *forest = writer->forest;
	uint64_t waits_since_ns = 0; /* 0: it has not waited */
	bool tried = false;
	int result;

	assert(!writer->joined);
	/* Relaxed: about. */
	if (__builtin_expect(order_load_relaxed(&forest->deltas) > TRANS_DELTAS_MAX, 0)) {
		result = trans_commit(writer);
		if (result)
			return result;
	}
	/* Ends: each turn more is a commit, our own once. */
	for (;;) {
		if (trans_is_aborted(forest))
			return -EROFS;
		result = trans_reserve(writer, blocks);
		if (trans_make_room(writer, result, &tried))
			continue;
		if (!result)
			result = rs_operation_begin(writer->producer);
		if (result)
			return result;
		/*
		 * TRANS.committing: the commit sets it before it takes its cut: this operation is one
		 * of those that the cut waits for, or it sees here that it is not.
		 */
		if (!order_load_acquire(&forest->committing))
			break;
		rs_operation_end(writer->producer);
		if (!waits_since_ns)
			waits_since_ns = clock_now_ns();
		trans_wait(forest);
	}
	if (__builtin_expect(waits_since_ns != 0, 0))
		trans_waited(forest, waits_since_ns);
	/* Relaxed: it moves while no writer is in a transaction. */
	writer->generation = order_load_relaxed(&forest->generation);
	writer->joined = true;
	return 0;
}

void trans_end(struct rs_writer *writer)
{
	assert(writer->joined);
	writer->joined = false;
	if (writer->blocks_copied >= TRANS_COPIES) {
		/* Relaxed: a sum. */
		order_fetch_add_relaxed(&writer->forest->blocks_copied, writer->blocks_copied);
		writer->blocks_copied = 0;
	}
	rs_operation_end(writer->producer);
}
