/* SPDX-License-Identifier: MIT */
#include "workloads/script_random.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/base/error.h"
#include "workloads/script_model.h"
#include "workloads/script_random_quota.h"

#define TRIES 200  /* of a line that turns out not to be possible */
#define SECTION 24 /* one line in so many waits for all threads */

static void grow_file(struct script_model_file *file, uint64_t end)
{
	file->there = true;
	if (file->units < end)
		file->units = end;
}

/* write and fallocate */
static bool roll_fill(struct script_model_generator *generator, const char *word)
{
	uint64_t units = generator->profile->units;
	struct script_model_target target;
	uint64_t length;
	uint64_t offset;

	if (!script_model_any_file(generator, SCRIPT_MODEL_ANY, &target))
		return false;
	script_model_use_file(generator, &target);
	length = script_model_any_length(generator, units);
	/* More often into what is there than behind it. */
	if (target.file->units > length && script_model_percent(generator, 75))
		units = target.file->units;
	offset = script_model_below(generator, units - length + 1);
	grow_file(target.file, offset + length);
	return script_model_in_range(generator, word, &target, offset, length);
}

static bool roll_punch(struct script_model_generator *generator)
{
	struct script_model_target target;
	uint64_t length;
	uint64_t offset;

	if (!script_model_any_file(generator, SCRIPT_MODEL_THERE, &target) || !target.file->units)
		return false;
	script_model_use_file(generator, &target);
	length = script_model_any_length(generator, target.file->units);
	offset = script_model_below(generator, target.file->units - length + 1);
	return script_model_in_range(generator, "punch", &target, offset, length);
}

static bool overlaps(const struct script_model_target *source, uint64_t offset, uint64_t length,
		     const struct script_model_target *target, uint64_t target_offset)
{
	return source->file == target->file && offset < target_offset + length &&
	       target_offset < offset + length;
}

/* The target is in this subvolume instead. False if the same file of it cannot be one. */
static bool stay_at(const struct script_model_generator *generator,
		    struct script_model_subvol *subvol, bool dedupe,
		    struct script_model_target *target)
{
	target->subvol = subvol;
	target->file = &subvol->files[target->number];
	return script_model_is_free(generator, target->file->user) &&
	       (target->file->there || !dedupe);
}

/* A clone; or a dedupe, which stays inside the target. */
static bool roll_share(struct script_model_generator *generator, bool dedupe)
{
	uint64_t room = generator->profile->units;
	struct script_model_target source;
	struct script_model_target target;
	uint64_t target_offset;
	uint64_t length;
	uint64_t offset;

	if (!script_model_any_file(generator, SCRIPT_MODEL_READABLE, &source) ||
	    !script_model_any_file(generator, dedupe ? SCRIPT_MODEL_THERE : SCRIPT_MODEL_ANY,
				   &target))
		return false;
	if (generator->profile->same && !source.subvol->read_only &&
	    script_model_percent(generator, generator->profile->same) &&
	    !stay_at(generator, source.subvol, dedupe, &target))
		return false;
	if (dedupe)
		room = target.file->units;
	if (!room)
		return false;
	length = script_model_any_length(generator,
					 source.file->units < room ? source.file->units : room);
	offset = script_model_below(generator, source.file->units - length + 1);
	target_offset = script_model_below(generator, room - length + 1);
	if (overlaps(&source, offset, length, &target, target_offset))
		return false;
	script_model_use_file(generator, &source);
	script_model_use_file(generator, &target);
	grow_file(target.file, target_offset + length);
	return script_model_two_ranges(generator, dedupe ? "dedupe" : "clone", &source, offset,
				       length, &target, target_offset);
}

static bool roll_truncate(struct script_model_generator *generator)
{
	struct script_model_target target;
	uint64_t units;

	if (!script_model_any_file(generator, SCRIPT_MODEL_ANY, &target))
		return false;
	script_model_use_file(generator, &target);
	units = script_model_percent(generator, 20) ?
			0 :
			script_model_below(generator, generator->profile->units + 1);
	target.file->there = true;
	target.file->units = units;
	return script_model_line(generator, "truncate s%" PRIu64 " %s%u %" PRIu64,
				 target.subvol->number, generator->file, target.number,
				 units * SCRIPT_UNIT);
}

/* unlink and defrag */
static bool roll_whole(struct script_model_generator *generator, bool unlink)
{
	struct script_model_target target;

	if (!script_model_any_file(generator, SCRIPT_MODEL_THERE, &target))
		return false;
	script_model_use_file(generator, &target);
	if (unlink) {
		target.file->there = false;
		target.file->units = 0;
	}
	return script_model_line(generator, "%s s%" PRIu64 " %s%u", unlink ? "unlink" : "defrag",
				 target.subvol->number, generator->file, target.number);
}

/*
 * A number whose subvolume is not there: a new one, or, where no thread can be in the middle of
 * deleting it, sometimes one that was there once.
 */
static uint64_t any_number(struct script_model_generator *generator)
{
	uint64_t first = generator->options->first_number;
	uint64_t number = first + script_model_below(generator, generator->next_number - first + 1);
	unsigned at;

	if (generator->thread != SCRIPT_MODEL_NOBODY || script_model_percent(generator, 60))
		return generator->next_number++;
	for (at = 0; at < generator->subvol_count; at++)
		if (generator->subvols[at].number == number)
			return generator->next_number++;
	if (number == generator->next_number)
		generator->next_number++;
	return number;
}

static struct script_model_subvol *add_subvol(struct script_model_generator *generator)
{
	struct script_model_subvol *subvol = &generator->subvols[generator->subvol_count++];
	unsigned at;

	memset(subvol, 0, sizeof(*subvol));
	subvol->number = any_number(generator);
	subvol->owner = generator->thread;
	subvol->relations = SCRIPT_MODEL_NOBODY;
	for (at = 0; at < SCRIPT_MODEL_FILES_MAX; at++)
		subvol->files[at].user = SCRIPT_MODEL_NOBODY;
	return subvol;
}

static bool has_room(const struct script_model_generator *generator)
{
	return generator->subvol_count < generator->profile->subvols;
}

static bool roll_subvol(struct script_model_generator *generator)
{
	struct script_model_subvol *subvol;

	if (!has_room(generator))
		return false;
	subvol = add_subvol(generator);
	return script_model_line(generator, "subvol s%" PRIu64, subvol->number);
}

/* Whether what a snapshot taken now has in it is known; the source is kept from others, if need be. */
static bool claim_contents(struct script_model_generator *generator,
			   struct script_model_subvol *source)
{
	if (source->opaque)
		return false;
	if (source->read_only || generator->thread == SCRIPT_MODEL_NOBODY)
		return true;
	if (!script_model_is_alone(generator, source) ||
	    (source->owner == SCRIPT_MODEL_NOBODY && generator->options->threads > 1 &&
	     script_model_percent(generator, 60)))
		return false;
	source->owner = generator->thread;
	return true;
}

static bool roll_snapshot(struct script_model_generator *generator)
{
	struct script_model_subvol *source = script_model_any_subvol(generator);
	char groups[SCRIPT_RANDOM_QUOTA_BYTES];
	struct script_model_subvol *made;
	bool known;
	unsigned at;

	if (!source || !has_room(generator))
		return false;
	known = claim_contents(generator, source);
	script_model_use_subvol(generator, source);
	made = add_subvol(generator);
	made->read_only = script_model_percent(generator, 40);
	made->opaque = !known;
	for (at = 0; known && at < SCRIPT_MODEL_FILES_MAX; at++) {
		made->files[at] = source->files[at];
		made->files[at].user = SCRIPT_MODEL_NOBODY;
	}
	made->groups = script_random_quota_inherit(generator, groups);
	return script_model_line(generator, "snapshot %ss%" PRIu64 " s%" PRIu64 "%s",
				 made->read_only ? "-r " : "", source->number, made->number,
				 groups);
}

/* One that can be written, and whose contents are known, is left. */
static bool can_go(const struct script_model_generator *generator,
		   const struct script_model_subvol *subvol)
{
	unsigned left = 0;
	unsigned at;

	for (at = 0; at < generator->subvol_count; at++) {
		const struct script_model_subvol *other = &generator->subvols[at];

		left += other != subvol && !other->read_only && !other->opaque &&
			other->owner == SCRIPT_MODEL_NOBODY;
	}
	return left && script_model_is_alone(generator, subvol);
}

static bool roll_delete(struct script_model_generator *generator)
{
	struct script_model_subvol *subvol = script_model_any_subvol(generator);
	uint64_t number;

	if (!subvol || !can_go(generator, subvol))
		return false;
	number = subvol->number;
	generator->left |= subvol->groups;
	*subvol = generator->subvols[--generator->subvol_count];
	return script_model_line(generator, "delete s%" PRIu64, number);
}

/* Something is changed in a snapshot that is read-only. */
static bool fail_read_only(struct script_model_generator *generator)
{
	struct script_model_target target;
	uint64_t number;

	if (!script_model_any_file(generator, SCRIPT_MODEL_READABLE, &target) ||
	    !target.subvol->read_only)
		return false;
	script_model_use_subvol(generator, target.subvol);
	number = target.subvol->number;
	switch (script_model_below(generator, 4)) {
	case 0:
		return script_model_line(generator, "fails EROFS truncate s%" PRIu64 " %s%u 0",
					 number, generator->file, target.number);
	case 1:
		return script_model_line(generator, "fails EROFS unlink s%" PRIu64 " %s%u", number,
					 generator->file, target.number);
	case 2:
		return script_model_in_range(generator, "fails EROFS punch", &target, 0, 1);
	default:
		return script_model_in_range(generator, "fails EROFS write", &target, 0, 1);
	}
}

/* What is not there. No subvolume has the name "none". */
static bool fail_missing(struct script_model_generator *generator)
{
	struct script_model_target target;

	switch (script_model_below(generator, 4)) {
	case 0:
		return script_model_line(generator, "fails ENOENT write none f0 0 %u", SCRIPT_UNIT);
	case 1:
		return script_model_line(generator, "fails ENOENT snapshot none s%" PRIu64,
					 generator->next_number++);
	case 2:
		return script_model_line(generator, "fails ENOENT delete none");
	default:
		if (!script_model_any_file(generator, SCRIPT_MODEL_ANY, &target) ||
		    target.file->there)
			return false;
		script_model_use_file(generator, &target);
		return script_model_line(generator, "fails ENOENT unlink s%" PRIu64 " %s%u",
					 target.subvol->number, generator->file, target.number);
	}
}

static bool fail_exists(struct script_model_generator *generator)
{
	struct script_model_subvol *subvol = script_model_any_subvol(generator);

	if (!subvol)
		return false;
	script_model_use_subvol(generator, subvol);
	return script_model_line(generator, "fails EEXIST subvol s%" PRIu64, subvol->number);
}

/* Past the end of the source, or onto itself. */
static bool fail_clone(struct script_model_generator *generator)
{
	struct script_model_target source;
	struct script_model_target target;
	uint64_t length;

	if (!script_model_any_file(generator, SCRIPT_MODEL_READABLE, &source) ||
	    !script_model_any_file(generator, SCRIPT_MODEL_THERE, &target))
		return false;
	script_model_use_file(generator, &source);
	script_model_use_file(generator, &target);
	length = script_model_any_length(generator, source.file->units);
	if (source.file == target.file)
		return script_model_two_ranges(generator, "fails EINVAL clone", &source, 0, length,
					       &target, script_model_below(generator, length));
	return script_model_two_ranges(generator, "fails EINVAL clone", &source,
				       source.file->units - length + 1, length, &target, 0);
}

static bool roll_fail(struct script_model_generator *generator)
{
	switch (script_model_below(generator, 4)) {
	case 0:
		return fail_read_only(generator);
	case 1:
		return fail_missing(generator);
	case 2:
		return fail_exists(generator);
	default:
		return fail_clone(generator);
	}
}

/* Writes a line; false if it is not possible now. */
static bool roll_line(struct script_model_generator *generator, unsigned roll)
{
	switch (roll) {
	case SCRIPT_WRITE:
		return roll_fill(generator, "write");
	case SCRIPT_CLONE:
		return roll_share(generator, false);
	case SCRIPT_DEDUPE:
		return roll_share(generator, true);
	case SCRIPT_TRUNCATE:
		return roll_truncate(generator);
	case SCRIPT_PUNCH:
		return roll_punch(generator);
	case SCRIPT_FALLOCATE:
		return roll_fill(generator, "fallocate");
	case SCRIPT_UNLINK:
		return roll_whole(generator, true);
	case SCRIPT_DEFRAG:
		return !generator->options->no_defrag && roll_whole(generator, false);
	case SCRIPT_SUBVOL:
		return roll_subvol(generator);
	case SCRIPT_SNAPSHOT:
		return roll_snapshot(generator);
	case SCRIPT_DELETE:
		return roll_delete(generator);
	case SCRIPT_DROP_WAIT:
		/* Beside a thread that deletes it would have no end to wait for. */
		return generator->thread == SCRIPT_MODEL_NOBODY &&
		       script_model_line(generator, "drop-wait");
	case SCRIPT_MODEL_ROLL_FAIL:
		return roll_fail(generator);
	case SCRIPT_MODEL_ROLL_QUOTA:
	case SCRIPT_MODEL_ROLL_RESCAN:
	case SCRIPT_MODEL_ROLL_GROUP:
	case SCRIPT_MODEL_ROLL_MEMBER:
		return script_random_quota_line(generator, roll);
	default:
		return script_model_line(generator, "commit");
	}
}

static unsigned any_roll(struct script_model_generator *generator)
{
	const uint16_t *weights = generator->profile->weights;
	uint64_t total = 0;
	uint64_t drawn;
	unsigned roll;

	for (roll = 0; roll < SCRIPT_MODEL_ROLLS; roll++)
		total += weights[roll];
	drawn = script_model_below(generator, total);
	for (roll = 0; drawn >= weights[roll]; roll++)
		drawn -= weights[roll];
	return roll;
}

/* The groups of an image would stand in the way of those that come to be here. */
static bool source_line(struct script_model_generator *generator)
{
	const struct script_random_options *options = generator->options;
	unsigned sourced = generator->sourced++;

	if (!sourced)
		return script_model_line(generator, "quota off");
	return script_model_line(generator, "snapshot id:%" PRIu64 " s%" PRIu64,
				 options->sources[sourced - 1], add_subvol(generator)->number);
}

/* What a profile with quotas begins with; false if that is written. */
static bool begin_line(struct script_model_generator *generator)
{
	unsigned subvols = generator->profile->begin;
	unsigned begun = generator->begun;

	if (generator->options->source_count &&
	    generator->sourced <= generator->options->source_count && has_room(generator))
		return source_line(generator);
	if (!subvols || begun > subvols + SCRIPT_RANDOM_QUOTA_GROUPS + SCRIPT_RANDOM_QUOTA_NESTED)
		return false;
	generator->begun++;
	if (!begun)
		return script_random_quota_on(generator);
	if (--begun < subvols)
		return roll_subvol(generator);
	begun -= subvols;
	if (begun < SCRIPT_RANDOM_QUOTA_GROUPS)
		return script_random_quota_group(generator, begun);
	return script_random_quota_nest(generator, begun - SCRIPT_RANDOM_QUOTA_GROUPS);
}

/* Of lines that wait for all threads, one in so many. Numbers of groups are compared more often. */
static unsigned check_every(const struct script_model_generator *generator)
{
	bool quotas = generator->profile->begin;

	if (generator->options->check_every)
		return generator->options->check_every;
	if (generator->options->threads)
		return quotas ? 2 : 4;
	return quotas ? 10 : 64;
}

/* Of the lines on quotas that have no other time than between sections of threads. */
static unsigned any_lone_roll(struct script_model_generator *generator)
{
	return script_model_percent(generator, 8) ? SCRIPT_MODEL_ROLL_QUOTA :
						    SCRIPT_MODEL_ROLL_MEMBER;
}

static void next_line(struct script_model_generator *generator)
{
	unsigned threads = generator->options->threads;
	unsigned tries;

	generator->thread = SCRIPT_MODEL_NOBODY;
	if (begin_line(generator))
		return;
	if (threads && generator->subvol_count && script_model_below(generator, SECTION))
		generator->thread = (int)script_model_below(generator, threads);
	if (generator->thread == SCRIPT_MODEL_NOBODY)
		script_model_end_section(generator);
	if (!generator->subvol_count) {
		roll_subvol(generator);
		return;
	}
	if (generator->options->checks && generator->thread == SCRIPT_MODEL_NOBODY &&
	    !script_model_below(generator, check_every(generator))) {
		script_model_line(generator, "check");
		return;
	}
	if (threads && generator->profile->begin && generator->thread == SCRIPT_MODEL_NOBODY &&
	    script_model_percent(generator, 40) && roll_line(generator, any_lone_roll(generator)))
		return;
	for (tries = 0; tries < TRIES; tries++)
		if (roll_line(generator, any_roll(generator)))
			return;
	script_model_line(generator, "commit");
}

const char *script_random_profile(unsigned index, const char **about)
{
	const struct script_model_profile *profile = script_model_profile_at(index);

	if (!profile)
		return NULL;
	*about = profile->about;
	return profile->name;
}

static const struct script_model_profile *find_profile(const char *name)
{
	const struct script_model_profile *profile;
	unsigned at;

	for (at = 0; (profile = script_model_profile_at(at)); at++)
		if (!strcmp(profile->name, name))
			return profile;
	return NULL;
}

static void write_header(const struct script_random_options *options, FILE *to)
{
	if (options->table) {
		fprintf(to, "# seed %" PRIu64 ", weights %s\n", options->seed,
			options->table->name);
		return;
	}
	fprintf(to, "# refstorm script --seed %" PRIu64 " --ops %" PRIu64 " --profile %s",
		options->seed, options->operations, options->profile);
	if (options->threads)
		fprintf(to, " --threads %u", options->threads);
	fprintf(to, "%s%s\n", options->no_defrag ? " --no-defrag" : "",
		options->checks ? " --check" : "");
}

/* All is as it was at the beginning, but for quotas. */
static void write_end(struct script_model_generator *generator)
{
	unsigned at;

	generator->thread = SCRIPT_MODEL_NOBODY;
	script_model_line(generator, "drop-wait");
	if (generator->options->checks)
		script_model_line(generator, "check");
	for (at = 0; at < generator->subvol_count; at++)
		script_model_line(generator, "delete s%" PRIu64, generator->subvols[at].number);
	script_model_line(generator, "drop-wait");
	if (generator->options->checks)
		script_model_line(generator, "check");
}

static bool has_weights(const struct script_model_profile *profile)
{
	unsigned roll;

	for (roll = 0; roll < SCRIPT_MODEL_ROLLS; roll++)
		if (profile->weights[roll])
			return true;
	return false;
}

int script_random_write(const struct script_random_options *options, FILE *to,
			struct rs_error *error)
{
	const struct script_model_profile *profile =
		options->table ? options->table : find_profile(options->profile);
	struct script_model_generator *generator;
	uint64_t at;

	if (!profile)
		return error_set(error, -EINVAL, "there is no profile '%s'", options->profile);
	if (!has_weights(profile))
		return error_set(error, -EINVAL, "profile '%s' has no weights", profile->name);
	if (options->threads > SCRIPT_RANDOM_THREADS_MAX)
		return error_set(error, -EINVAL, "at most %u threads", SCRIPT_RANDOM_THREADS_MAX);
	generator = alloc_zeroed(1, sizeof(*generator));
	if (!generator)
		return error_no_memory(error, "a random script");
	generator->options = options;
	generator->profile = profile;
	generator->file = options->file ? options->file : "f";
	generator->next_number = options->first_number;
	generator->to = to;
	random_state_seed(&generator->random, options->seed, 0);
	write_header(options, to);
	for (at = 0; at < options->operations && !ferror(to); at++)
		next_line(generator);
	if (options->ends_empty)
		write_end(generator);
	alloc_free(generator);
	if (ferror(to))
		return error_set(error, -EIO, "the script cannot be written");
	return 0;
}
