/* SPDX-License-Identifier: MIT */
#include "workloads/script_model.h"

#include <inttypes.h>
#include <stdarg.h>

static const struct script_model_profile profiles[] = {
	{ "mixed",
	  "all operations",
	  12,
	  6,
	  256,
	  40,
	  0,
	  0,
	  { [SCRIPT_WRITE] = 300,
	    [SCRIPT_CLONE] = 100,
	    [SCRIPT_DEDUPE] = 30,
	    [SCRIPT_TRUNCATE] = 40,
	    [SCRIPT_PUNCH] = 50,
	    [SCRIPT_FALLOCATE] = 40,
	    [SCRIPT_UNLINK] = 20,
	    [SCRIPT_DEFRAG] = 15,
	    [SCRIPT_SUBVOL] = 15,
	    [SCRIPT_SNAPSHOT] = 50,
	    [SCRIPT_DELETE] = 30,
	    [SCRIPT_COMMIT] = 20,
	    [SCRIPT_DROP_WAIT] = 3,
	    [SCRIPT_MODEL_ROLL_FAIL] = 15 } },
	{ "overwrite",
	  "blocks of a few files written over, and now and then a snapshot",
	  8,
	  4,
	  1024,
	  92,
	  0,
	  0,
	  { [SCRIPT_WRITE] = 900,
	    [SCRIPT_SUBVOL] = 3,
	    [SCRIPT_SNAPSHOT] = 20,
	    [SCRIPT_DELETE] = 15,
	    [SCRIPT_COMMIT] = 10,
	    [SCRIPT_DROP_WAIT] = 1,
	    [SCRIPT_MODEL_ROLL_FAIL] = 3 } },
	{ "snapshots",
	  "many snapshots, with few changes between them",
	  32,
	  6,
	  64,
	  80,
	  0,
	  0,
	  { [SCRIPT_WRITE] = 250,
	    [SCRIPT_CLONE] = 20,
	    [SCRIPT_PUNCH] = 15,
	    [SCRIPT_UNLINK] = 10,
	    [SCRIPT_SUBVOL] = 20,
	    [SCRIPT_SNAPSHOT] = 200,
	    [SCRIPT_DELETE] = 150,
	    [SCRIPT_COMMIT] = 20,
	    [SCRIPT_DROP_WAIT] = 6,
	    [SCRIPT_MODEL_ROLL_FAIL] = 15 } },
	{ "clones",
	  "ranges shared between files, and cut apart again",
	  8,
	  8,
	  256,
	  30,
	  0,
	  0,
	  { [SCRIPT_WRITE] = 150,
	    [SCRIPT_CLONE] = 400,
	    [SCRIPT_DEDUPE] = 100,
	    [SCRIPT_TRUNCATE] = 40,
	    [SCRIPT_PUNCH] = 100,
	    [SCRIPT_FALLOCATE] = 30,
	    [SCRIPT_UNLINK] = 15,
	    [SCRIPT_DEFRAG] = 20,
	    [SCRIPT_SUBVOL] = 10,
	    [SCRIPT_SNAPSHOT] = 20,
	    [SCRIPT_DELETE] = 15,
	    [SCRIPT_COMMIT] = 15,
	    [SCRIPT_DROP_WAIT] = 2,
	    [SCRIPT_MODEL_ROLL_FAIL] = 20 } },
	{ "files",
	  "small files made, resized and unlinked",
	  8,
	  24,
	  32,
	  50,
	  0,
	  0,
	  { [SCRIPT_WRITE] = 250,
	    [SCRIPT_CLONE] = 40,
	    [SCRIPT_TRUNCATE] = 150,
	    [SCRIPT_PUNCH] = 40,
	    [SCRIPT_FALLOCATE] = 100,
	    [SCRIPT_UNLINK] = 250,
	    [SCRIPT_DEFRAG] = 10,
	    [SCRIPT_SUBVOL] = 10,
	    [SCRIPT_SNAPSHOT] = 20,
	    [SCRIPT_DELETE] = 15,
	    [SCRIPT_COMMIT] = 15,
	    [SCRIPT_DROP_WAIT] = 2,
	    [SCRIPT_MODEL_ROLL_FAIL] = 20 } },
	{ "quota",
	  "five subvolumes written in turns, their snapshots, groups of three levels, and rescans",
	  20,
	  6,
	  128,
	  60,
	  40,
	  5,
	  { [SCRIPT_WRITE] = 300,
	    [SCRIPT_CLONE] = 120,
	    [SCRIPT_DEDUPE] = 15,
	    [SCRIPT_TRUNCATE] = 25,
	    [SCRIPT_PUNCH] = 30,
	    [SCRIPT_FALLOCATE] = 20,
	    [SCRIPT_UNLINK] = 20,
	    [SCRIPT_DEFRAG] = 5,
	    [SCRIPT_SUBVOL] = 10,
	    [SCRIPT_SNAPSHOT] = 110,
	    [SCRIPT_DELETE] = 80,
	    [SCRIPT_COMMIT] = 20,
	    [SCRIPT_DROP_WAIT] = 5,
	    [SCRIPT_MODEL_ROLL_FAIL] = 10,
	    [SCRIPT_MODEL_ROLL_QUOTA] = 4,
	    [SCRIPT_MODEL_ROLL_RESCAN] = 40,
	    [SCRIPT_MODEL_ROLL_GROUP] = 40,
	    [SCRIPT_MODEL_ROLL_MEMBER] = 110 } },
};

#define PROFILE_COUNT (sizeof(profiles) / sizeof(profiles[0]))

const struct script_model_profile *script_model_profile_at(unsigned index)
{
	return index < PROFILE_COUNT ? &profiles[index] : NULL;
}

uint64_t script_model_below(struct script_model_generator *generator, uint64_t bound)
{
	return random_state_below(&generator->random, bound);
}

bool script_model_percent(struct script_model_generator *generator, unsigned chance)
{
	return script_model_below(generator, 100) < chance;
}

__attribute__((format(printf, 2, 3))) bool
script_model_line(struct script_model_generator *generator, const char *format, ...)
{
	va_list arguments;

	if (generator->thread != SCRIPT_MODEL_NOBODY)
		fprintf(generator->to, "@%d ", generator->thread);
	va_start(arguments, format);
	vfprintf(generator->to, format, arguments);
	va_end(arguments);
	fputc('\n', generator->to);
	return true;
}

static uint64_t thread_bit(const struct script_model_generator *generator)
{
	return generator->thread == SCRIPT_MODEL_NOBODY ? 0 : UINT64_C(1) << generator->thread;
}

bool script_model_is_free(const struct script_model_generator *generator, int user)
{
	return generator->thread == SCRIPT_MODEL_NOBODY || user == SCRIPT_MODEL_NOBODY ||
	       user == generator->thread;
}

bool script_model_is_alone(const struct script_model_generator *generator,
			   const struct script_model_subvol *subvol)
{
	return generator->thread == SCRIPT_MODEL_NOBODY ||
	       (script_model_is_free(generator, subvol->owner) &&
		!(subvol->users & ~thread_bit(generator)));
}

void script_model_use_subvol(struct script_model_generator *generator,
			     struct script_model_subvol *subvol)
{
	subvol->users |= thread_bit(generator);
}

void script_model_use_file(struct script_model_generator *generator,
			   const struct script_model_target *target)
{
	script_model_use_subvol(generator, target->subvol);
	target->file->user = generator->thread;
}

struct script_model_subvol *script_model_any_subvol(struct script_model_generator *generator)
{
	struct script_model_subvol *subvol =
		&generator->subvols[script_model_below(generator, generator->subvol_count)];

	return script_model_is_free(generator, subvol->owner) ? subvol : NULL;
}

bool script_model_any_file(struct script_model_generator *generator,
			   enum script_model_wanted wanted, struct script_model_target *target)
{
	target->subvol = script_model_any_subvol(generator);
	if (!target->subvol || target->subvol->opaque)
		return false;
	if (target->subvol->read_only && wanted != SCRIPT_MODEL_READABLE)
		return false;
	target->number = (unsigned)script_model_below(generator, generator->profile->files);
	target->file = &target->subvol->files[target->number];
	if (!script_model_is_free(generator, target->file->user))
		return false;
	if (wanted != SCRIPT_MODEL_ANY && !target->file->there)
		return false;
	return wanted != SCRIPT_MODEL_READABLE || target->file->units;
}

uint64_t script_model_any_length(struct script_model_generator *generator, uint64_t most)
{
	uint64_t bound = most;

	if (script_model_percent(generator, generator->profile->small))
		return 1;
	if (script_model_percent(generator, 80) && bound > 16)
		bound = 16;
	else if (bound > 64)
		bound = 64;
	return 1 + script_model_below(generator, bound);
}

bool script_model_in_range(struct script_model_generator *generator, const char *word,
			   const struct script_model_target *target, uint64_t offset,
			   uint64_t length)
{
	return script_model_line(generator, "%s s%" PRIu64 " %s%u %" PRIu64 " %" PRIu64, word,
				 target->subvol->number, generator->file, target->number,
				 offset * SCRIPT_UNIT, length * SCRIPT_UNIT);
}

bool script_model_two_ranges(struct script_model_generator *generator, const char *word,
			     const struct script_model_target *source, uint64_t offset,
			     uint64_t length, const struct script_model_target *target,
			     uint64_t target_offset)
{
	return script_model_line(generator,
				 "%s s%" PRIu64 " %s%u %" PRIu64 " %" PRIu64 " s%" PRIu64
				 " %s%u %" PRIu64,
				 word, source->subvol->number, generator->file, source->number,
				 offset * SCRIPT_UNIT, length * SCRIPT_UNIT, target->subvol->number,
				 generator->file, target->number, target_offset * SCRIPT_UNIT);
}

void script_model_end_section(struct script_model_generator *generator)
{
	unsigned at;
	unsigned file;

	for (at = 0; at < generator->subvol_count; at++) {
		struct script_model_subvol *subvol = &generator->subvols[at];

		subvol->users = 0;
		subvol->owner = SCRIPT_MODEL_NOBODY;
		subvol->relations = SCRIPT_MODEL_NOBODY;
		for (file = 0; file < SCRIPT_MODEL_FILES_MAX; file++)
			subvol->files[file].user = SCRIPT_MODEL_NOBODY;
	}
}
