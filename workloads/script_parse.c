/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>

#include "core/base/alloc.h"
#include "core/base/array.h"
#include "core/base/error.h"
#include "workloads/script.h"
#include "workloads/script_take.h"

#define PLACE_MAX 100 /* so that the number of the line fits behind it */

/* "@T", if it is there. */
static int take_thread(struct script_parser *parser)
{
	const struct script_line_word *word = parser->words;
	uint64_t thread;

	if (word->at[0] != '@')
		return 0;
	parser->next++;
	if (word->length < 2 ||
	    script_take_digits(word->at + 1, word->length - 1, SCRIPT_THREADS_MAX - 1, &thread) !=
		    word->length - 1)
		return error_set(parser->error, -EINVAL, "'%.*s': threads are @0 to @%u",
				 SCRIPT_QUOTE(word), SCRIPT_THREADS_MAX - 1);
	parser->operation->thread = (uint16_t)thread;
	if (parser->script->threads <= thread)
		parser->script->threads = (unsigned)thread + 1;
	return 0;
}

/* "fails ERRNO", if it is there. */
static int take_fails(struct script_parser *parser)
{
	const struct script_line_word *word;

	if (!script_take_literal(parser, "fails"))
		return 0;
	if (parser->next == parser->word_count)
		return error_set(parser->error, -EINVAL,
				 "fails: an argument is missing; wanted: ERRNO OPERATION");
	word = &parser->words[parser->next++];
	parser->operation->fails = (uint16_t)script_words_errno(word->at, word->length);
	if (!parser->operation->fails)
		return error_set(parser->error, -EINVAL, "fails: there is no error '%.*s'",
				 SCRIPT_QUOTE(word));
	return 0;
}

static int take_kind(struct script_parser *parser)
{
	const struct script_line_word *word = &parser->words[parser->next];
	unsigned kind;

	if (parser->next == parser->word_count)
		return error_set(parser->error, -EINVAL, "the operation is missing");
	for (kind = 0; kind < SCRIPT_KINDS; kind++) {
		size_t begin = parser->next;

		if (script_take_literal(parser, script_words[kind].word)) {
			if (!script_words[kind].second ||
			    script_take_literal(parser, script_words[kind].second))
				break;
			parser->next = begin;
		}
	}
	if (kind == SCRIPT_KINDS) {
		if (parser->next + 1 < parser->word_count)
			return error_set(parser->error, -EINVAL,
					 "there is no operation '%.*s', nor '%.*s %.*s'",
					 SCRIPT_QUOTE(word), SCRIPT_QUOTE(word),
					 SCRIPT_QUOTE(word + 1));
		return error_set(parser->error, -EINVAL, "there is no operation '%.*s'",
				 SCRIPT_QUOTE(word));
	}
	parser->operation->kind = (uint8_t)kind;
	script_words_name(parser->name, (enum script_kind)kind);
	parser->usage = script_words[kind].usage;
	/* These look at what all threads have done. */
	if (parser->operation->thread != SCRIPT_NO_THREAD &&
	    (kind == SCRIPT_CHECK || kind == SCRIPT_EXPECT || kind == SCRIPT_EXPECT_RECLAIM))
		return error_set(parser->error, -EINVAL, "%s: not on a thread of its own",
				 parser->name);
	return 0;
}

static int parse_words(struct script_parser *parser)
{
	struct script *script = parser->script;
	struct script_operation *operations =
		array_grow(script->operations, script->operation_count, 1,
			   &script->operation_capacity, sizeof(*operations));
	int ret;

	if (!operations)
		return script_take_no_memory(parser);
	script->operations = operations;
	parser->operation = &operations[script->operation_count++];
	*parser->operation = (struct script_operation){
		.line = parser->line,
		.subvol = SCRIPT_NONE,
		.place = SCRIPT_NONE,
		.target_subvol = SCRIPT_NONE,
		.target_place = SCRIPT_NONE,
		.thread = SCRIPT_NO_THREAD,
	};
	parser->next = 0;
	ret = take_thread(parser);
	if (!ret)
		ret = take_fails(parser);
	if (!ret)
		ret = take_kind(parser);
	return ret ? ret : script_take_arguments(parser);
}

static bool is_blank(char byte)
{
	return byte == ' ' || byte == '\t' || byte == '\r';
}

/* The words of a line, up to a comment. */
static int split_line(struct script_parser *parser, const char *at, const char *end)
{
	parser->word_count = 0;
	for (;;) {
		struct script_line_word *words;
		const char *begin;

		while (at < end && is_blank(*at))
			at++;
		if (at == end || *at == '#')
			return 0;
		begin = at;
		for (; at < end && !is_blank(*at); at++)
			if ((unsigned char)*at < ' ' || *at == 0x7f)
				return error_set(parser->error, -EINVAL,
						 "a control character, %d; this is no text",
						 (unsigned char)*at);
		words = array_grow(parser->words, parser->word_count, 1, &parser->word_capacity,
				   sizeof(*words));
		if (!words)
			return script_take_no_memory(parser);
		parser->words = words;
		words[parser->word_count++] =
			(struct script_line_word){ begin, (size_t)(at - begin) };
	}
}

static int parse_lines(struct script_parser *parser)
{
	const char *at = parser->script->text;
	const char *end = at + parser->script->text_bytes;
	int ret = 0;

	while (!ret && at < end) {
		const char *line_end = memchr(at, '\n', (size_t)(end - at));

		if (!line_end)
			line_end = end;
		if (++parser->line == SCRIPT_NONE)
			return error_set(parser->error, -EINVAL, "too many lines");
		ret = split_line(parser, at, line_end);
		if (!ret && parser->word_count)
			ret = parse_words(parser);
		at = line_end + 1;
	}
	return ret;
}

static struct script *make_script(const char *name, const char *text, size_t bytes)
{
	struct script *script = alloc_zeroed(1, sizeof(*script));
	size_t length = strlen(name);

	if (!script)
		return NULL;
	script->name = alloc_string(length > PLACE_MAX ? name + length - PLACE_MAX : name);
	script->text = alloc_array(bytes + 1, 1);
	if (!script->name || !script->text) {
		script_free(script);
		return NULL;
	}
	memcpy(script->text, text, bytes);
	script->text[bytes] = 0;
	script->text_bytes = bytes;
	return script;
}

int script_parse(const char *name, const char *text, size_t bytes, struct script **out,
		 struct rs_error *error)
{
	struct script_parser parser = { .script = make_script(name, text, bytes), .error = error };
	int ret;

	*out = NULL;
	if (!parser.script)
		return script_take_no_memory(&parser);
	ret = parse_lines(&parser);
	alloc_free(parser.words);
	if (ret) {
		error_add_place(error, "%s:%u", parser.script->name, parser.line);
		script_free(parser.script);
		return ret;
	}
	*out = parser.script;
	return 0;
}
