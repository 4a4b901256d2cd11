/* SPDX-License-Identifier: MIT */
/*
 * What script_random knows of the state that its script has come to: subvolumes, files and their
 * sizes, and which thread has used what since all threads waited. One thread.
 */
#ifndef REFSTORM_WORKLOADS_SCRIPT_MODEL_H
#define REFSTORM_WORKLOADS_SCRIPT_MODEL_H

#include "core/base/random.h"
#include "workloads/script.h"
#include "workloads/script_random.h"

#define SCRIPT_MODEL_SUBVOLS_MAX 32
#define SCRIPT_MODEL_FILES_MAX 24
#define SCRIPT_MODEL_NOBODY (-1)
#define SCRIPT_MODEL_ROLL_FAIL (SCRIPT_DROP_WAIT + 1) /* a line that must fail */
#define SCRIPT_MODEL_ROLL_QUOTA (SCRIPT_DROP_WAIT + 2)
#define SCRIPT_MODEL_ROLL_RESCAN (SCRIPT_DROP_WAIT + 3)
#define SCRIPT_MODEL_ROLL_GROUP (SCRIPT_DROP_WAIT + 4)  /* one comes or goes */
#define SCRIPT_MODEL_ROLL_MEMBER (SCRIPT_DROP_WAIT + 5) /* assign and unassign */
#define SCRIPT_MODEL_ROLLS (SCRIPT_MODEL_ROLL_MEMBER + 1)
#define SCRIPT_MODEL_LEVELS 3U
#define SCRIPT_MODEL_WIDTH 4U /* groups of a level */
#define SCRIPT_MODEL_GROUPS (SCRIPT_MODEL_LEVELS * SCRIPT_MODEL_WIDTH)

struct script_model_profile {
	const char *name;
	const char *about;
	unsigned subvols; /* at once */
	unsigned files;   /* of each */
	unsigned units;   /* of SCRIPT_UNIT, the size of a file */
	unsigned small;   /* percent of the ranges that have one unit */
	unsigned same;    /* percent of the clones that stay in their subvolume, besides chance */
	unsigned begin; /* quotas are turned on first, and so many subvolumes made; 0: no quotas */
	uint16_t weights[SCRIPT_MODEL_ROLLS];
};

struct script_model_file {
	bool there;
	uint64_t units;
	int user; /* the thread that has it to the end of the section */
};

struct script_model_subvol {
	uint64_t number; /* in its name */
	bool read_only;
	bool opaque;     /* taken while others wrote: nobody knows what is in it */
	uint64_t users;  /* bits of the threads that used it in this section */
	int owner;       /* the only thread that may use it to the end of the section */
	int relations;   /* the thread that may change what it is a member of */
	uint32_t groups; /* bits of those that it is a member of */
	struct script_model_file files[SCRIPT_MODEL_FILES_MAX];
};

struct script_model_group {
	bool there;
	uint32_t parents; /* bits of those that it is a member of */
};

struct script_model_generator {
	const struct script_random_options *options;
	const struct script_model_profile *profile;
	const char *file; /* what names of files begin with */
	struct random_state random;
	FILE *to;
	struct script_model_subvol subvols[SCRIPT_MODEL_SUBVOLS_MAX];
	unsigned subvol_count;
	uint64_t next_number;
	unsigned begun; /* lines of the beginning */
	unsigned sourced;
	bool quota;    /* is on */
	bool rescan;   /* one may run */
	uint32_t left; /* bits of the groups that may have a deleted member yet */
	struct script_model_group groups[SCRIPT_MODEL_GROUPS]; /* by level */
	int thread; /* of the line; SCRIPT_MODEL_NOBODY: none */
};

/* A file of a subvolume, and how it is written. */
struct script_model_target {
	struct script_model_subvol *subvol;
	struct script_model_file *file;
	unsigned number;
};

enum script_model_wanted {
	SCRIPT_MODEL_ANY,      /* to be written: there or not */
	SCRIPT_MODEL_THERE,    /* to be changed: there */
	SCRIPT_MODEL_READABLE, /* to be read: there, not empty, also in a read-only subvolume */
};

/* NULL past the last one. */
const struct script_model_profile *script_model_profile_at(unsigned index);

uint64_t script_model_below(struct script_model_generator *generator, uint64_t bound);
bool script_model_percent(struct script_model_generator *generator, unsigned chance);

/* Writes a line, with the thread in front of it. True. */
bool script_model_line(struct script_model_generator *generator, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* Lines with one range, or two. In SCRIPT_UNIT. True. */
bool script_model_in_range(struct script_model_generator *generator, const char *word,
			   const struct script_model_target *target, uint64_t offset,
			   uint64_t length);
bool script_model_two_ranges(struct script_model_generator *generator, const char *word,
			     const struct script_model_target *source, uint64_t offset,
			     uint64_t length, const struct script_model_target *target,
			     uint64_t target_offset);

/* Whether the thread of the line may use what `user` has to itself. */
bool script_model_is_free(const struct script_model_generator *generator, int user);
/* Whether no other thread has used the subvolume, so that the order of all uses is known. */
bool script_model_is_alone(const struct script_model_generator *generator,
			   const struct script_model_subvol *subvol);
void script_model_use_subvol(struct script_model_generator *generator,
			     struct script_model_subvol *subvol);
/* The thread of the line has the file to itself from now on. */
void script_model_use_file(struct script_model_generator *generator,
			   const struct script_model_target *target);
/* One that may be used now; NULL if luck has it not. */
struct script_model_subvol *script_model_any_subvol(struct script_model_generator *generator);
/* A file that may be used now; false if luck has it not. */
bool script_model_any_file(struct script_model_generator *generator,
			   enum script_model_wanted wanted, struct script_model_target *target);
/* A length of at most `most` units, at least 1. */
uint64_t script_model_any_length(struct script_model_generator *generator, uint64_t most);

/* What all threads have done before is known, and anybody may use everything again. */
void script_model_end_section(struct script_model_generator *generator);

#endif /* REFSTORM_WORKLOADS_SCRIPT_MODEL_H */
