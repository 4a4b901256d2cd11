/* SPDX-License-Identifier: MIT */
/*
 * Checks each change of a reference when it happens: an observer of the forest that knows, for each
 * extent, its references and how they came to be, as the kernel's ref-verify does.
 *
 * What is wrong at once: allocating what still has references; changing what is not known or
 * has none; dropping a reference that is not there; the same reference to a tree block twice; a
 * reference that is not of one tree or of one parent; another length, sort or level than the
 * extent has. An entry stays when its references have gone, so that allocating it again is checked
 * and its history tells who freed it; allocating it again begins a new history.
 *
 * Who may call: refverify_ref any threads together; refverify_load, refverify_check and
 * refverify_destroy one thread, at rest. Progress: blocking, on the lock of one shard of 64, under
 * which no other lock is taken but that of the first failure. It takes none of core's locks, so
 * that it may be called under any of them. Memory: about 200 bytes an extent that was ever there,
 * 40 a reference, and 72 + 8 * trace_depth for each action kept.
 */
#ifndef REFSTORM_ORACLE_REFVERIFY_H
#define REFSTORM_ORACLE_REFVERIFY_H

#include "core/forest/extent_index.h"
#include "refstorm/forest.h"

#define REFVERIFY_TRACE_MAX 16U
#define REFVERIFY_TEXT_BYTES 16384U

struct refverify_options {
	unsigned trace_depth; /* frames kept of each action, 16 at most; 0: none, the cheapest */
	unsigned history;     /* actions kept of each extent, the newest; 0: 16 */
};

struct refverify;

/* `options` may be NULL. 0, -ENOMEM, or -EINVAL: too deep. */
int refverify_create(const struct refverify_options *options, struct refverify **out)
	__attribute__((warn_unused_result));
void refverify_destroy(struct refverify *verify);

/* With `ref` alone. Valid as long as `verify`. */
const struct rs_observer *refverify_observer(const struct refverify *verify);

/*
 * rs_observer.ref, `verify` the argument. 0; -EUCLEAN: it is wrong, the first failure's text is
 * kept, and nothing is changed, so that checking goes on; -ENOMEM, and nothing is changed.
 */
int refverify_ref(void *verify, const struct rs_ref_action *action)
	__attribute__((warn_unused_result));

/*
 * An extent that is there from the beginning. 0, -ENOMEM, -EUCLEAN: it is known already, or its
 * references do not add up, name nothing, or stand there twice.
 */
int refverify_load(struct refverify *verify, const struct extent *extent)
	__attribute__((warn_unused_result));

/*
 * Forgets all entries inside the range of a block group that is removed. -EUCLEAN: one of them has
 * references, or one lies across an end of the range, and stays. Actions in the range have ended.
 */
int refverify_forget(struct refverify *verify, uint64_t bytenr, uint64_t bytes)
	__attribute__((warn_unused_result));

/*
 * Right behind a commit, at rest: all entries with references against the index, both ways,
 * and against each other for overlaps. 0, -EUCLEAN, -ENOMEM.
 */
int refverify_check(struct refverify *verify, const struct extent_index *index)
	__attribute__((warn_unused_result));

/* Since the beginning; any thread. */
uint64_t refverify_failures(const struct refverify *verify);
/* The first failure, or an empty text, copied to `text`, which is returned; any thread. */
const char *refverify_text(struct refverify *verify, char *text, size_t bytes);

/* What is known of the extent that begins there, its history too, or an empty text, likewise. */
const char *refverify_describe(struct refverify *verify, uint64_t bytenr, char *text, size_t bytes);

/* Any thread; each number is true of some moment. */
struct refverify_statistics {
	uint64_t actions; /* checked, wrong ones too */
	uint64_t entries;
	uint64_t live;    /* of them, with references */
	uint64_t dropped; /* actions that are in no history any more, in favour of newer ones */
};
void refverify_statistics_read(struct refverify *verify, struct refverify_statistics *statistics);

#endif /* REFSTORM_ORACLE_REFVERIFY_H */
