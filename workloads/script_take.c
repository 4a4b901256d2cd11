/* SPDX-License-Identifier: MIT */
#include "workloads/script_take.h"

#include <errno.h>
#include <string.h>

#include "core/base/array.h"
#include "core/base/error.h"

int script_take_no_memory(struct script_parser *parser)
{
	return error_no_memory(parser->error, "a script");
}

/* The next word; NULL after a message that one is missing. */
static const struct script_line_word *take(struct script_parser *parser)
{
	if (parser->next < parser->word_count)
		return &parser->words[parser->next++];
	error_set(parser->error, -EINVAL, "%s: an argument is missing; wanted: %s", parser->name,
		  parser->usage);
	return NULL;
}

bool script_take_literal(struct script_parser *parser, const char *text)
{
	const struct script_line_word *word = &parser->words[parser->next];

	if (parser->next == parser->word_count || strlen(text) != word->length ||
	    memcmp(word->at, text, word->length))
		return false;
	parser->next++;
	return true;
}

static bool is_digit(char byte)
{
	return byte >= '0' && byte <= '9';
}

static bool is_name_byte(char byte)
{
	return is_digit(byte) || (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
	       byte == '_' || byte == '.' || byte == '-';
}

/* What names a place of its own in every directory, or cannot be made there, is no name. */
static bool is_part(const char *at, size_t length)
{
	return length && length <= SCRIPT_NAME_MAX && !(length == 1 && at[0] == '.') &&
	       !(length == 2 && at[0] == '.' && at[1] == '.');
}

static bool is_name(const struct script_line_word *word)
{
	size_t at;

	for (at = 0; at < word->length; at++)
		if (!is_name_byte(word->at[at]))
			return false;
	return is_part(word->at, word->length);
}

size_t script_take_digits(const char *at, size_t length, uint64_t most, uint64_t *number)
{
	size_t used;

	*number = 0;
	for (used = 0; used < length && is_digit(at[used]); used++) {
		uint64_t digit = (uint64_t)(at[used] - '0');

		if (*number > (most - digit) / 10)
			return 0;
		*number = *number * 10 + digit;
	}
	return used;
}

/* A path from the top level, whose parts may have any name that an image may have, or id:N. */
static bool is_subvol(const struct script_line_word *word)
{
	const char *at = word->at;
	const char *end = at + word->length;
	uint64_t id;

	if (word->length > 3 && !memcmp(at, "id:", 3))
		return script_take_digits(at + 3, word->length - 3, UINT64_MAX, &id) ==
		       word->length - 3;
	while (at <= end) {
		const char *slash = memchr(at, '/', (size_t)(end - at));

		if (!slash)
			slash = end;
		if (!is_part(at, (size_t)(slash - at)))
			return false;
		at = slash + 1;
	}
	return true;
}

/* L/ID. 1, 0 if it is something else, or -EINVAL after a message. */
static int read_group(struct script_parser *parser, const struct script_line_word *word,
		      struct script_group *group)
{
	const char *slash = memchr(word->at, '/', word->length);
	const char *at;
	uint64_t level;
	size_t before;
	size_t behind;

	for (at = word->at; slash && at < word->at + word->length; at++)
		if (!is_digit(*at) && at != slash)
			slash = NULL;
	if (!slash || slash == word->at || slash == word->at + word->length - 1)
		return 0;
	before = (size_t)(slash - word->at);
	behind = word->length - before - 1;
	if (script_take_digits(word->at, before, UINT16_MAX, &level) != before ||
	    script_take_digits(slash + 1, behind, (UINT64_C(1) << 48) - 1, &group->id) != behind)
		return error_set(parser->error, -EINVAL, "'%.*s': no group has such a number",
				 SCRIPT_QUOTE(word));
	if (!level)
		return error_set(parser->error, -EINVAL,
				 "'%.*s': a group of level 0 is named by its subvolume",
				 SCRIPT_QUOTE(word));
	group->level = (uint32_t)level;
	group->subvol = SCRIPT_NONE;
	return 1;
}

static int add_name(struct script_parser *parser, struct script_names *names, const void *key,
		    size_t bytes, uint32_t *number)
{
	return script_names_add(names, key, bytes, number) ? script_take_no_memory(parser) : 0;
}

/* A new name, if `fresh`, else one that may be that of an image. */
static int take_subvol(struct script_parser *parser, bool fresh, uint32_t *subvol)
{
	const struct script_line_word *word = take(parser);
	struct script_group group;
	int ret;

	if (!word)
		return -EINVAL;
	ret = read_group(parser, word, &group);
	if (ret < 0)
		return ret;
	if (ret)
		return error_set(parser->error, -EINVAL, "'%.*s' is a group, not a subvolume",
				 SCRIPT_QUOTE(word));
	if (fresh ? !is_name(word) : !is_subvol(word))
		return error_set(parser->error, -EINVAL, "'%.*s' is no name of a %ssubvolume",
				 SCRIPT_QUOTE(word), fresh ? "new " : "");
	return add_name(parser, &parser->script->subvols, word->at, word->length, subvol);
}

static int take_file(struct script_parser *parser, uint32_t subvol, uint32_t *number)
{
	const struct script_line_word *word = take(parser);
	struct script_place place = { .subvol = subvol };
	int ret;

	if (!word)
		return -EINVAL;
	if (!is_name(word))
		return error_set(parser->error, -EINVAL, "'%.*s' is no name of a file",
				 SCRIPT_QUOTE(word));
	ret = add_name(parser, &parser->script->files, word->at, word->length, &place.file);
	if (ret)
		return ret;
	return add_name(parser, &parser->script->places, &place, sizeof(place), number);
}

static int take_number(struct script_parser *parser, uint64_t *number)
{
	const struct script_line_word *word = take(parser);
	unsigned shift = 0;
	size_t used;

	if (!word)
		return -EINVAL;
	used = script_take_digits(word->at, word->length, INT64_MAX, number);
	if (used && used + 1 == word->length) {
		static const char units[] = "kmg";
		const char *unit = strchr(units, word->at[used] | 0x20);

		if (unit && *unit)
			shift = 10 * (unsigned)(unit - units + 1);
		used += shift > 0;
	}
	if (!used || used != word->length || *number > (uint64_t)INT64_MAX >> shift)
		return error_set(parser->error, -EINVAL, "'%.*s' is no number of bytes",
				 SCRIPT_QUOTE(word));
	*number <<= shift;
	return 0;
}

/* An offset, a length or a size. */
static int take_extent(struct script_parser *parser, uint64_t *number)
{
	int ret = take_number(parser, number);

	if (ret)
		return ret;
	if (*number % SCRIPT_UNIT)
		return error_set(parser->error, -EINVAL, "'%.*s' is not a multiple of %u",
				 SCRIPT_QUOTE(&parser->words[parser->next - 1]), SCRIPT_UNIT);
	return 0;
}

static int add_group(struct script_parser *parser, const struct script_group *group)
{
	struct script *script = parser->script;
	struct script_group *groups = array_grow(script->groups, script->group_count, 1,
						 &script->group_capacity, sizeof(*groups));

	if (!groups)
		return script_take_no_memory(parser);
	script->groups = groups;
	if (!parser->operation->group_count++)
		parser->operation->group_first = (uint32_t)script->group_count;
	groups[script->group_count++] = *group;
	return 0;
}

/* L/ID, or with `named` also a subvolume. */
static int take_group(struct script_parser *parser, bool named)
{
	const struct script_line_word *word = take(parser);
	struct script_group group = { .level = 0 };
	int ret;

	if (!word)
		return -EINVAL;
	ret = read_group(parser, word, &group);
	if (ret < 0)
		return ret;
	if (!ret && !named)
		return error_set(parser->error, -EINVAL, "'%.*s' is no group L/ID",
				 SCRIPT_QUOTE(word));
	if (!ret) {
		parser->next--;
		ret = take_subvol(parser, false, &group.subvol);
		if (ret)
			return ret;
	}
	return add_group(parser, &group);
}

/* "group" and at least one of them, or nothing. */
static int take_groups(struct script_parser *parser)
{
	int ret = 0;

	if (!script_take_literal(parser, "group"))
		return 0;
	do {
		ret = take_group(parser, false);
	} while (!ret && parser->next < parser->word_count);
	return ret;
}

static int take_engine(struct script_parser *parser)
{
	static const char *const names[] = {
		[SCRIPT_ENGINE_LEDGER] = "ledger",
		[SCRIPT_ENGINE_EXTENT] = "extent",
		[SCRIPT_ENGINE_OPER] = "oper",
		[SCRIPT_ENGINE_SIMPLE] = "simple",
	};
	unsigned engine;

	if (parser->next == parser->word_count)
		return 0;
	for (engine = SCRIPT_ENGINE_LEDGER; engine <= SCRIPT_ENGINE_SIMPLE; engine++) {
		if (script_take_literal(parser, names[engine])) {
			parser->operation->engine = (uint8_t)engine;
			return 0;
		}
	}
	return error_set(parser->error, -EINVAL, "there is no engine '%.*s'",
			 SCRIPT_QUOTE(&parser->words[parser->next]));
}

static int refuse(struct script_parser *parser)
{
	const struct script_line_word *word = take(parser);

	return word ? error_set(parser->error, -EINVAL, "%s: '%.*s' is wrong here; wanted: %s",
				parser->name, SCRIPT_QUOTE(word), parser->usage) :
		      -EINVAL;
}

static int take_limit(struct script_parser *parser)
{
	if (script_take_literal(parser, "excl"))
		parser->operation->flags |= SCRIPT_LIMIT_EXCL;
	else if (!script_take_literal(parser, "rfer"))
		return refuse(parser);
	if (!script_take_literal(parser, "none"))
		return take_number(parser, &parser->operation->bytes);
	parser->operation->flags |= SCRIPT_LIMIT_NONE;
	return 0;
}

static int take_expected(struct script_parser *parser)
{
	struct script_operation *operation = parser->operation;
	bool data = script_take_literal(parser, "data-rfer");
	int ret;

	if (!data && !script_take_literal(parser, "rfer"))
		return refuse(parser);
	operation->flags |= data ? SCRIPT_DATA_ONLY : 0;
	ret = take_number(parser, &operation->rfer);
	if (ret)
		return ret;
	if (!script_take_literal(parser, data ? "data-excl" : "excl"))
		return refuse(parser);
	return take_number(parser, &operation->excl);
}

/* Subvolumes, at least one, and a number. */
static int take_reclaim(struct script_parser *parser)
{
	int ret;

	do {
		struct script_group group = { .level = 0 };

		ret = take_subvol(parser, false, &group.subvol);
		if (!ret)
			ret = add_group(parser, &group);
	} while (!ret && parser->next + 1 < parser->word_count);
	return ret ? ret : take_number(parser, &parser->operation->bytes);
}

/* A range that ends where no file can. */
static int check_range(struct script_parser *parser)
{
	const struct script_operation *operation = parser->operation;
	const char *pattern = script_words[operation->kind].pattern;

	if (strchr(pattern, 'L') && (operation->offset > INT64_MAX - operation->length ||
				     operation->target_offset > INT64_MAX - operation->length))
		return error_set(parser->error, -EINVAL, "%s: past the largest offset in a file",
				 parser->name);
	return 0;
}

static int take_argument(struct script_parser *parser, char letter)
{
	struct script_operation *operation = parser->operation;

	switch (letter) {
	case 'V':
		return take_subvol(parser, false, &operation->subvol);
	case 'v':
		return take_subvol(parser, false, &operation->target_subvol);
	case 'n':
		return take_subvol(parser, true, &operation->subvol);
	case 'N':
		return take_subvol(parser, true, &operation->target_subvol);
	case 'F':
		return take_file(parser, operation->subvol, &operation->place);
	case 'f':
		return take_file(parser, operation->target_subvol, &operation->target_place);
	case 'O':
		return take_extent(parser, &operation->offset);
	case 'S':
		return take_extent(parser, &operation->size);
	case 'L':
		return take_extent(parser, &operation->length);
	case 'o':
		return take_extent(parser, &operation->target_offset);
	case 'G':
		return take_group(parser, true);
	case 'H':
		return take_group(parser, false);
	case 'g':
		return take_groups(parser);
	case 'r':
		operation->flags |= script_take_literal(parser, "-r") ? SCRIPT_READ_ONLY : 0;
		return 0;
	case 'e':
		return take_engine(parser);
	case 'k':
		return take_limit(parser);
	case 'x':
		return take_expected(parser);
	default:
		return take_reclaim(parser);
	}
}

int script_take_arguments(struct script_parser *parser)
{
	const char *letter;
	int ret;

	for (letter = script_words[parser->operation->kind].pattern; *letter; letter++) {
		if (*letter == '?') {
			if (parser->next == parser->word_count)
				break;
			continue;
		}
		ret = take_argument(parser, *letter);
		if (ret)
			return ret;
	}
	if (parser->next < parser->word_count)
		return error_set(parser->error, -EINVAL, "%s: '%.*s' is one too many; wanted: %s",
				 parser->name, SCRIPT_QUOTE(&parser->words[parser->next]),
				 parser->usage);
	return check_range(parser);
}
