/* SPDX-License-Identifier: MIT */
#include "tests/support/forest_crowd.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/base/random.h"
#include "core/forest/file.h"
#include "tests/support/threads.h"

#define BLOCK 4096U
#define NAME_BYTES 32

/* Fewer subvolumes are made more, more are made fewer: there is always room for one of each thread. */
#define USED_LEAST 6U

/* One thread. */
struct crowd_thread {
	struct forest_crowd *crowd;
	struct forest_crowd_tally *tally;
	struct rs_writer *writer;
	struct random_state random;
};

/* A file that an operation is done to. */
struct crowd_file {
	struct rs_file_range range;
	char own[NAME_BYTES];
	const char *name; /* NULL: none is known */
	uint64_t size;
	bool image;
};

/* How operations are called, and what may become of them besides: what they need can have gone. */
static const struct {
	const char *name;
	int refused[2];
	unsigned weight; /* among operations on files */
} kinds[FOREST_CROWD_KINDS] = {
	[FOREST_CROWD_COMMIT] = { "commit", { 0 }, 0 },
	[FOREST_CROWD_SUBVOL] = { "subvol", { 0 }, 0 },
	[FOREST_CROWD_SNAPSHOT] = { "snapshot", { -ENOENT }, 0 },
	[FOREST_CROWD_DELETE] = { "delete", { 0 }, 0 },
	[FOREST_CROWD_DROP] = { "drop", { 0 }, 0 },
	[FOREST_CROWD_WRITE] = { "write", { -ENOENT }, 9 },
	[FOREST_CROWD_FALLOCATE] = { "fallocate", { -ENOENT }, 2 },
	[FOREST_CROWD_CLONE] = { "clone", { -ENOENT, -EINVAL }, 3 },
	[FOREST_CROWD_DEDUPE] = { "dedupe", { -ENOENT, -EINVAL }, 1 },
	[FOREST_CROWD_TRUNCATE] = { "truncate", { -ENOENT }, 1 },
	[FOREST_CROWD_PUNCH] = { "punch", { -ENOENT }, 2 },
	[FOREST_CROWD_DEFRAG] = { "defrag", { -ENOENT }, 1 },
	[FOREST_CROWD_UNLINK] = { "unlink", { -ENOENT }, 1 },
};

const char *forest_crowd_kind_name(enum forest_crowd_kind kind)
{
	return kinds[kind].name;
}

static int crowd_ref(void *argument, const struct rs_ref_action *action)
{
	return refverify_ref(((struct forest_crowd *)argument)->verify, action);
}

static int crowd_head(void *argument, const struct rs_head *head)
{
	return recount_accounts_head(((struct forest_crowd *)argument)->accounts, head);
}

static int crowd_snapshot(void *argument, uint64_t source, uint64_t root)
{
	return recount_accounts_snapshot(((struct forest_crowd *)argument)->accounts, source, root);
}

static int crowd_deleted(void *argument, uint64_t root)
{
	return recount_accounts_deleted(((struct forest_crowd *)argument)->accounts, root);
}

void forest_crowd_init(struct forest_crowd *crowd)
{
	memset(crowd, 0, sizeof(*crowd));
	pthread_mutex_init(&crowd->mutex, NULL);
	crowd->watched = true;
	crowd->observer = (struct rs_observer){
		.argument = crowd,
		.ref = crowd_ref,
		.head = crowd_head,
		.snapshot = crowd_snapshot,
		.deleted = crowd_deleted,
	};
	assert_int_equal(refverify_create(NULL, &crowd->verify), 0);
	assert_int_equal(recount_accounts_create(&crowd->accounts), 0);
}

void forest_crowd_destroy(struct forest_crowd *crowd)
{
	while (crowd->subvols) {
		struct forest_crowd_subvol *next = crowd->subvols->next;

		free(crowd->subvols);
		crowd->subvols = next;
	}
	while (crowd->files) {
		struct forest_crowd_files *next = crowd->files->next;
		size_t at;

		for (at = 0; at < crowd->files->count; at++)
			free(crowd->files->files[at].name);
		free(crowd->files);
		crowd->files = next;
	}
	refverify_destroy(crowd->verify);
	recount_accounts_destroy(crowd->accounts);
	pthread_mutex_destroy(&crowd->mutex);
}

static uint64_t crowd_below(struct crowd_thread *thread, uint64_t end)
{
	return random_state_below(&thread->random, end);
}

static void crowd_count(struct crowd_thread *thread, enum forest_crowd_kind kind, int result)
{
	struct forest_crowd_tally *tally = thread->tally;

	tally->tried[kind]++;
	if (!result) {
		tally->done[kind]++;
		return;
	}
	if (result == kinds[kind].refused[0] || result == kinds[kind].refused[1])
		return;
	if (!tally->unexpected++) {
		tally->first_result = result;
		tally->first_kind = kind;
	}
}

static unsigned crowd_place(struct crowd_thread *thread, unsigned turn)
{
	unsigned near = thread->crowd->options->near;

	/* Half of all is done to a few in any case: threads that never meet show nothing. */
	if (turn < 8 && (near || crowd_below(thread, 2)))
		return (unsigned)crowd_below(thread, near ? near : 3);
	/* Then by chance alone; at the end each place has had its turn. */
	return turn < 2 * FOREST_CROWD_PLACES ? (unsigned)crowd_below(thread, FOREST_CROWD_PLACES) :
						turn % FOREST_CROWD_PLACES;
}

/* Any of those that will do. NULL: there is none. */
static struct forest_crowd_subvol *crowd_pick(struct crowd_thread *thread, bool writable,
					      bool with_files)
{
	unsigned turn;

	for (turn = 0; turn < 3 * FOREST_CROWD_PLACES; turn++) {
		unsigned at = crowd_place(thread, turn);
		/* CROWD.place: sees the subvolume, and what is known of it. */
		struct forest_crowd_subvol *found = order_load_acquire(&thread->crowd->places[at]);

		if (found && !(writable && found->read_only) && !(with_files && !found->files))
			return found;
	}
	return NULL;
}

void forest_crowd_keep(struct forest_crowd *crowd, struct rs_subvol *subvol, bool read_only,
		       const struct forest_crowd_files *files)
{
	struct forest_crowd_subvol *kept = calloc(1, sizeof(*kept));
	unsigned at = 0;
	void *none;

	if (!kept)
		abort();
	kept->subvol = subvol;
	kept->read_only = read_only;
	kept->files = files;
	pthread_mutex_lock(&crowd->mutex);
	kept->next = crowd->subvols;
	crowd->subvols = kept;
	pthread_mutex_unlock(&crowd->mutex);
	/* Ends: there are more places than ever are used. */
	do {
		none = NULL;
		at = (at + 1) % FOREST_CROWD_PLACES;
		/* CROWD.place: the subvolume. */
	} while (!order_cas_release(&crowd->places[at], &none, kept));
	order_fetch_add_relaxed(&crowd->used, 1); /* relaxed: about how many there are */
}

static void crowd_create(struct crowd_thread *thread)
{
	struct forest_crowd *crowd = thread->crowd;
	/* An image's files would die out if all were copied alike. */
	const struct forest_crowd_subvol *imaged = crowd_pick(thread, false, true);
	const struct forest_crowd_subvol *any = crowd_pick(thread, false, false);
	const struct forest_crowd_subvol *source = imaged && crowd_below(thread, 4) ? imaged : any;
	bool snapshot = source && crowd_below(thread, 6);
	bool read_only = snapshot && !crowd_below(thread, 3);
	struct rs_subvol *subvol;
	char name[NAME_BYTES];
	int result;

	/* Relaxed: a number, no more. */
	snprintf(name, sizeof(name), "crowd-%u", order_fetch_add_relaxed(&crowd->serial, 1));
	if (snapshot)
		result = rs_subvol_snapshot(thread->writer, source->subvol, name, read_only,
					    &subvol);
	else
		result = rs_subvol_create(thread->writer, name, &subvol);
	crowd_count(thread, snapshot ? FOREST_CROWD_SNAPSHOT : FOREST_CROWD_SUBVOL, result);
	if (!result)
		forest_crowd_keep(crowd, subvol, read_only, snapshot ? source->files : NULL);
}

/* That can be written and have files of the image; about how many. */
static unsigned crowd_imaged(struct forest_crowd *crowd)
{
	unsigned count = 0;
	unsigned at;

	for (at = 0; at < FOREST_CROWD_PLACES; at++) {
		/* CROWD.place: sees what is known of the subvolume. */
		const struct forest_crowd_subvol *found = order_load_acquire(&crowd->places[at]);

		count += found && found->files && !found->read_only;
	}
	return count;
}

/* The top level stays, and, however many threads come here together, something of the image. */
static bool crowd_may_delete(struct crowd_thread *thread, const struct forest_crowd_subvol *subvol)
{
	if (rs_subvol_id(subvol->subvol) == BTRFS_FS_TREE_OBJECTID)
		return false;
	return !subvol->files || subvol->read_only ||
	       crowd_imaged(thread->crowd) > thread->crowd->options->threads;
}

/* False: there is none that may go. */
static bool crowd_delete(struct crowd_thread *thread)
{
	order_ptr *places = thread->crowd->places;
	unsigned first = (unsigned)crowd_below(thread, FOREST_CROWD_PLACES);
	unsigned turn;

	for (turn = 0; turn < FOREST_CROWD_PLACES; turn++) {
		unsigned at = (first + turn) % FOREST_CROWD_PLACES;
		/* CROWD.place: sees the subvolume, and what is known of it. */
		struct forest_crowd_subvol *found = order_load_acquire(&places[at]);
		void *expected = found;

		if (!found || !crowd_may_delete(thread, found))
			continue;
		/* Relaxed: who wins has seen it already. */
		if (!order_cas_relaxed(&places[at], &expected, NULL))
			continue;
		order_fetch_sub_relaxed(&thread->crowd->used, 1); /* relaxed: about how many */
		crowd_count(thread, FOREST_CROWD_DELETE,
			    rs_subvol_delete(thread->writer, found->subvol));
		return true;
	}
	return false;
}

static void crowd_change_subvols(struct crowd_thread *thread)
{
	/* Relaxed: about how many there are. */
	unsigned used = order_load_relaxed(&thread->crowd->used);
	bool more = used < USED_LEAST || (used <= FOREST_CROWD_KNOWN && crowd_below(thread, 2));

	if (more || !crowd_delete(thread))
		crowd_create(thread);
}

/* 0: there is no such file. */
static uint64_t crowd_size(const struct rs_file_range *range)
{
	struct inode inode = { 0 };
	int result;

	lock_acquire(&range->subvol->lock);
	result = file_check(range->subvol, false);
	if (!result)
		result = inode_read(range->subvol, range->inode, &inode);
	lock_release(&range->subvol->lock);
	return result ? 0 : inode.size;
}

/* One of the image's, by its name or by its number, or one of the crowd's own, made where it is not. */
static int crowd_file_pick(struct crowd_thread *thread, const struct forest_crowd_subvol *from,
			   struct crowd_file *file)
{
	const struct forest_crowd_file *image = NULL;
	unsigned near = thread->crowd->options->near;
	int result = 0;

	*file = (struct crowd_file){ .range.subvol = from->subvol };
	/* What cannot be made where it may not be changed would be missed there. */
	if (from->files && (from->read_only || !crowd_below(thread, near ? 8 : 2)))
		image = &from->files->files[crowd_below(thread, from->files->count)];
	if (image) {
		file->image = true;
		file->name = image->name;
		file->range.inode = image->inode;
	} else {
		snprintf(file->own, sizeof(file->own), "crowd-%u",
			 (unsigned)crowd_below(thread, near ? 2 : FOREST_CROWD_FILES));
		file->name = file->own;
	}
	if (!image || (image->name && crowd_below(thread, 2)))
		result = rs_file_find(thread->writer, from->subvol, file->name,
				      !image && !from->read_only, &file->range.inode);
	if (!result)
		file->size = crowd_size(&file->range);
	return result;
}

/* A file with that much in it; after some turns any, or -ENOENT. */
static int crowd_source_pick(struct crowd_thread *thread, uint64_t bytes, struct crowd_file *file)
{
	unsigned turn = 0;
	int result;

	do {
		const struct forest_crowd_subvol *subvol = crowd_pick(thread, false, false);

		result = subvol ? crowd_file_pick(thread, subvol, file) : -ENOENT;
	} while (++turn < 8 && (result == -ENOENT || (!result && file->size < bytes)));
	return result;
}

/*
 * Shares extents, of the file or of another. Both ranges are such that they do, unless others change
 * them; where there is nothing to be shared it is refused.
 */
static int crowd_share(struct crowd_thread *thread, struct crowd_file *to, uint64_t length,
		       bool dedupe)
{
	struct rs_file_range *target = &to->range;
	struct crowd_file from;
	uint64_t room;
	int result = crowd_source_pick(thread, dedupe ? BLOCK : 1, &from);

	if (result)
		return result;
	from.range.offset = BLOCK * crowd_below(thread, file_round_up(from.size) / BLOCK);
	room = from.size - from.range.offset;
	if (dedupe) {
		target->offset = BLOCK * crowd_below(thread, to->size / BLOCK);
		if (to->size - target->offset < room)
			room = to->size - target->offset;
		room -= room % BLOCK;
	} else if (length > room && room % BLOCK) {
		/* The end of a file, inside a block, becomes the end of another. */
		room = file_round_up(room);
		target->offset = file_round_up(to->size);
	}
	if (length > room)
		length = room;
	if (!length)
		return -EINVAL;
	if (dedupe)
		return rs_file_dedupe(thread->writer, &from.range, length, target);
	return rs_file_clone(thread->writer, &from.range, length, target);
}

static int crowd_file_change(struct crowd_thread *thread, enum forest_crowd_kind kind,
			     struct crowd_file *file)
{
	struct rs_writer *writer = thread->writer;
	struct rs_file_range *range = &file->range;
	uint64_t blocks = thread->crowd->options->blocks;
	/* Mostly short, so that there are many items. */
	uint64_t length =
		BLOCK * (1 + crowd_below(thread, crowd_below(thread, 8) ? 4 : 1 + blocks / 8));

	/* Anywhere in what is there, or as far as the crowd's own files go. */
	if (file->size / BLOCK > blocks && file->size < FILE_END / 2)
		range->offset = BLOCK * crowd_below(thread, file->size / BLOCK);
	else
		range->offset = BLOCK * crowd_below(thread, blocks);
	switch (kind) {
	case FOREST_CROWD_FALLOCATE:
		return rs_file_fallocate(writer, range->subvol, range->inode, range->offset,
					 length);
	case FOREST_CROWD_CLONE:
	case FOREST_CROWD_DEDUPE:
		return crowd_share(thread, file, length, kind == FOREST_CROWD_DEDUPE);
	case FOREST_CROWD_TRUNCATE:
		return rs_file_truncate(writer, range->subvol, range->inode, range->offset);
	case FOREST_CROWD_PUNCH:
		return rs_file_punch(writer, range->subvol, range->inode, range->offset, length);
	case FOREST_CROWD_DEFRAG:
		return rs_file_defrag(writer, range->subvol, range->inode);
	case FOREST_CROWD_UNLINK:
		return rs_file_unlink(writer, range->subvol, file->name);
	default:
		return rs_file_write(writer, range->subvol, range->inode, range->offset, length);
	}
}

static enum forest_crowd_kind crowd_kind(struct crowd_thread *thread)
{
	unsigned kind = FOREST_CROWD_WRITE;
	uint64_t left = crowd_below(thread, 20);

	/* Ends: the weights come to 20. */
	while (left >= kinds[kind].weight)
		left -= kinds[kind++].weight;
	return (enum forest_crowd_kind)kind;
}

static void crowd_file_operate(struct crowd_thread *thread)
{
	enum forest_crowd_kind kind = crowd_kind(thread);
	struct forest_crowd_subvol *subvol = crowd_pick(thread, true, false);
	struct crowd_file file;
	int result;

	if (!subvol) {
		crowd_count(thread, kind, -ENOENT);
		return;
	}
	result = crowd_file_pick(thread, subvol, &file);
	/* Most files of the image stay for a while, and all where there are few. */
	if (kind == FOREST_CROWD_UNLINK && file.image &&
	    (!file.name || subvol->files->count < 16 || crowd_below(thread, 4)))
		kind = FOREST_CROWD_PUNCH;
	/* What has nothing in it cannot be shared. */
	if (kind == FOREST_CROWD_DEDUPE && file.size < BLOCK)
		kind = FOREST_CROWD_WRITE;
	if (!result)
		result = crowd_file_change(thread, kind, &file);
	crowd_count(thread, kind, result);
	thread->tally->image += !result && file.image;
}

static bool crowd_is_dropping(struct forest_crowd *crowd)
{
	struct rs_forest_statistics statistics;

	rs_forest_statistics_read(crowd->forest, &statistics);
	return statistics.dropping > 0;
}

static bool crowd_chance(struct crowd_thread *thread, unsigned in)
{
	return in && !crowd_below(thread, in);
}

static void crowd_commit(struct crowd_thread *thread)
{
	crowd_count(thread, FOREST_CROWD_COMMIT, rs_forest_commit(thread->writer));
}

static void crowd_one(struct crowd_thread *thread)
{
	const struct forest_crowd_options *options = thread->crowd->options;
	int result;

	if (crowd_chance(thread, options->commit_in)) {
		crowd_commit(thread);
	} else if (crowd_chance(thread, options->subvols_in)) {
		crowd_change_subvols(thread);
	} else if (crowd_chance(thread, options->drop_in) && crowd_is_dropping(thread->crowd)) {
		result = rs_forest_drop_step(thread->writer, 1U << crowd_below(thread, 8));
		crowd_count(thread, FOREST_CROWD_DROP, result > 0 ? 0 : result);
	} else {
		crowd_file_operate(thread);
	}
}

static void crowd_begin(struct crowd_thread *thread, struct forest_crowd *crowd, unsigned number)
{
	*thread = (struct crowd_thread){ .crowd = crowd, .tally = &crowd->tallies[number] };
	random_state_seed(&thread->random, crowd->options->seed, number);
	if (rs_writer_join(crowd->forest, &thread->writer))
		abort();
}

static void crowd_main(void *argument, unsigned number)
{
	struct crowd_thread thread;
	unsigned left;

	crowd_begin(&thread, argument, number);
	for (left = thread.crowd->options->operations; left; left--) {
		/* However short the run is, one commit comes while others work. */
		if (!number && thread.crowd->options->commit_in &&
		    left == (thread.crowd->options->operations + 1) / 2)
			crowd_commit(&thread);
		else
			crowd_one(&thread);
	}
	rs_writer_leave(thread.writer);
}

static void tally_add(struct forest_crowd_tally *sum, const struct forest_crowd_tally *tally)
{
	unsigned kind;

	for (kind = 0; kind < FOREST_CROWD_KINDS; kind++) {
		sum->tried[kind] += tally->tried[kind];
		sum->done[kind] += tally->done[kind];
	}
	sum->image += tally->image;
	if (tally->unexpected && !sum->unexpected) {
		sum->first_result = tally->first_result;
		sum->first_kind = tally->first_kind;
	}
	sum->unexpected += tally->unexpected;
}

static void tally_check(const struct forest_crowd_tally *tally)
{
	uint64_t tried = 0;
	uint64_t done = 0;
	unsigned kind;

	for (kind = 0; kind < FOREST_CROWD_KINDS; kind++) {
		tried += tally->tried[kind];
		done += tally->done[kind];
	}
	if (tally->unexpected)
		fail_msg("%llu operations failed, the first a %s with %d",
			 (unsigned long long)tally->unexpected, kinds[tally->first_kind].name,
			 tally->first_result);
	if (done * 3 <= tried * 2)
		fail_msg("of %llu operations only %llu did something", (unsigned long long)tried,
			 (unsigned long long)done);
}

void forest_crowd_run(struct forest_crowd *crowd, struct rs_forest *forest,
		      const struct forest_crowd_options *options)
{
	struct forest_crowd_tally tallies[FOREST_CROWD_THREADS + 1] = { 0 };
	struct rs_error error = RS_ERROR_INIT;
	struct crowd_thread first;
	unsigned at;

	assert_in_range(options->threads, 1, FOREST_CROWD_THREADS);
	crowd->forest = forest;
	crowd->options = options;
	crowd->tallies = tallies;
	crowd_begin(&first, crowd, options->threads);
	while (order_load_relaxed(&crowd->used) < 3) /* relaxed: nobody else is there */
		crowd_create(&first);
	rs_writer_leave(first.writer);
	threads_run(options->threads, crowd_main, crowd);
	for (at = 0; at <= options->threads; at++)
		tally_add(&crowd->tally, &tallies[at]);
	crowd->tallies = NULL;
	if (rs_forest_aborted(forest, &error))
		fail_msg("aborted: %s", error.what);
	tally_check(&crowd->tally);
}
