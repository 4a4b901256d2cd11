// SPDX-License-Identifier: MIT
#include "bench/forest_work.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "core/base/clock.h"
#include "core/base/rcu.h"
#include "refstorm/quota.h"
#include "stress/oracle/recount.h"

struct forest_work forest_work;

void forest_work_failed_if(int result)
{
	/* Relaxed, here and below: a sum, read when all threads have ended. */
	if (result)
		order_fetch_add_relaxed(&forest_work.failed, 1);
}

void forest_work_moment_take(struct forest_work_moment *moment)
{
	struct rusage usage;
	struct timespec now;

	rs_forest_statistics_read(forest_work.forest, &moment->statistics);
	getrusage(RUSAGE_SELF, &usage);
	moment->user_ns = (uint64_t)usage.ru_utime.tv_sec * UINT64_C(1000000000) +
			  (uint64_t)usage.ru_utime.tv_usec * 1000;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	moment->cpu_ns = (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
	moment->wall_ns = clock_now_ns();
}

double forest_work_seconds(const struct forest_work_moment *begin,
			   const struct forest_work_moment *end)
{
	return (double)(end->wall_ns - begin->wall_ns) / 1e9;
}

void forest_work_begin(void)
{
	memset(&forest_work, 0, sizeof(forest_work));
	if (rs_forest_create(NULL, &forest_work.forest, NULL) ||
	    rs_writer_join(forest_work.forest, &forest_work.writer))
		abort();
}

void forest_work_end(void)
{
	rs_writer_leave(forest_work.writer);
	rs_forest_destroy(forest_work.forest);
}

void forest_work_write(struct rs_writer *writer, const struct forest_work_file *file,
		       uint64_t block)
{
	forest_work_failed_if(rs_file_write(writer, file->subvol, file->inode,
					    block * FOREST_WORK_BLOCK, FOREST_WORK_BLOCK));
}

void forest_work_fill(struct forest_work_file *file, const char *name, uint64_t blocks)
{
	uint64_t at;

	file->blocks = blocks;
	forest_work_failed_if(rs_subvol_create(forest_work.writer, name, &file->subvol));
	forest_work_failed_if(
		rs_file_find(forest_work.writer, file->subvol, "file", true, &file->inode));
	for (at = 0; at < blocks; at++) {
		forest_work_write(forest_work.writer, file, at);
		if ((at + 1) % FOREST_WORK_COMMIT_EVERY == 0)
			forest_work_failed_if(rs_forest_commit(forest_work.writer));
	}
	forest_work_failed_if(rs_forest_commit(forest_work.writer));
}

void forest_work_check(struct bench_state *state, uint64_t data_extents)
{
	const struct recount_options options = { .references = true };
	const struct recount_report *report;
	struct recount *recount;

	if (order_load_relaxed(&forest_work.failed))
		bench_fail(state, "an operation failed");
	rcu_thread_enroll();
	if (recount_create(forest_work.forest, &options, &recount)) {
		bench_fail(state, "no memory to count again");
	} else {
		report = recount_report(recount);
		if (report->finding_count)
			bench_fail(state, report->findings[0].text);
		else if (report->extents != data_extents + report->blocks)
			bench_fail(state, "the extents are not the blocks of data and trees");
		else if (report->dropping)
			bench_fail(state, "a subvolume is not taken apart");
		forest_work.references = report->references;
		recount_destroy(recount);
	}
	rcu_thread_leave();
}

/* The groups of all subvolumes must be what a recount finds. */
void forest_work_groups_check(struct bench_state *state)
{
	const struct recount_options options = { .holdings = true };
	const struct recount_root *roots;
	struct rs_group_usage usage;
	struct recount *recount;
	size_t wrong = 0;
	size_t count;
	size_t at;

	if (recount_create(forest_work.forest, &options, &recount))
		abort();
	roots = recount_roots(recount, &count);
	for (at = 0; at < count; at++) {
		if (rs_group_read(forest_work.forest, rs_group_id(0, roots[at].root), &usage))
			wrong++;
		else
			wrong += usage.rfer != roots[at].rfer || usage.excl != roots[at].excl ||
				 usage.data_rfer != roots[at].data_rfer ||
				 usage.data_excl != roots[at].data_excl;
	}
	recount_destroy(recount);
	if (wrong || !count)
		bench_fail(state, "groups are not what a recount finds");
}
