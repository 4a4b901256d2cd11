/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/alloc.h"
#include "tests/support/threads.h"
#include "workloads/script.h"
#include "workloads/script_random.h"
#include "workloads/script_words.h"

static struct script *parse(const char *text)
{
	struct rs_error error = RS_ERROR_INIT;
	struct script *script;
	int ret = script_parse("a.script", text, strlen(text), &script, &error);

	if (ret)
		fail_msg("%s: %s: %s", text, error.where, error.what);
	return script;
}

/* The operation of a line, written out again from what was read. */
static void print_operation(const struct script *script, const struct script_operation *operation,
			    char *text, size_t bytes)
{
	char name[SCRIPT_WORDS_NAME_BYTES];
	FILE *to = fmemopen(text, bytes, "w");
	uint32_t at;

	assert_non_null(to);
	fprintf(to, "%s", script_words_name(name, (enum script_kind)operation->kind));
	if (operation->thread != SCRIPT_NO_THREAD)
		fprintf(to, " thread=%u", operation->thread);
	if (operation->fails)
		fprintf(to, " fails=%s", script_words_errno_name(name, operation->fails));
	if (operation->subvol != SCRIPT_NONE)
		fprintf(to, " %s", script_subvol_name(script, operation->subvol));
	if (operation->place != SCRIPT_NONE) {
		const struct script_place *place = script_place(script, operation->place);

		assert_int_equal(place->subvol, operation->subvol);
		fprintf(to, " %s", script_file_name(script, place->file));
	}
	fprintf(to, " %" PRIu64 " %" PRIu64, operation->offset, operation->length);
	if (operation->target_subvol != SCRIPT_NONE)
		fprintf(to, " to %s", script_subvol_name(script, operation->target_subvol));
	if (operation->target_place != SCRIPT_NONE) {
		const struct script_place *place = script_place(script, operation->target_place);

		assert_int_equal(place->subvol, operation->target_subvol);
		fprintf(to, " %s", script_file_name(script, place->file));
	}
	fprintf(to, " %" PRIu64, operation->target_offset);
	for (at = 0; at < operation->group_count; at++) {
		const struct script_group *group = &script->groups[operation->group_first + at];

		if (group->subvol == SCRIPT_NONE)
			fprintf(to, " %u/%" PRIu64, group->level, group->id);
		else
			fprintf(to, " of:%s", script_subvol_name(script, group->subvol));
	}
	if (operation->engine)
		fprintf(to, " engine=%u", operation->engine);
	if (operation->flags)
		fprintf(to, " flags=%u", operation->flags);
	fclose(to);
}

/* Every form of every line. */
static const struct {
	const char *line;
	const char *read;
} forms[] = {
	{ "subvol v", "subvol v 0 0 0" },
	{ "subvol A_b.9-z", "subvol A_b.9-z 0 0 0" },
	{ "snapshot v w", "snapshot v 0 0 to w 0" },
	{ "snapshot -r v w", "snapshot v 0 0 to w 0 flags=1" },
	{ "snapshot v w group 1/2", "snapshot v 0 0 to w 0 1/2" },
	{ "snapshot -r a/b w group 1/2 3/4", "snapshot a/b 0 0 to w 0 1/2 3/4 flags=1" },
	{ "delete v", "delete v 0 0 0" },
	{ "delete id:257", "delete id:257 0 0 0" },
	{ "delete @home/user", "delete @home/user 0 0 0" },
	{ "write v f 4096 8192", "write v f 4096 8192 0" },
	{ "write v f 4k 1M", "write v f 4096 1048576 0" },
	{ "write v f 0 2g", "write v f 0 2147483648 0" },
	{ "write v f 0 0", "write v f 0 0 0" },
	{ "clone v f 4k 8k w g 12k", "clone v f 4096 8192 to w g 12288" },
	{ "dedupe v f 4k 8k w g 12k", "dedupe v f 4096 8192 to w g 12288" },
	{ "truncate v f 12288", "truncate v f 12288 0 0" },
	{ "punch v f 4096 8192", "punch v f 4096 8192 0" },
	{ "fallocate v f 4096 8192", "fallocate v f 4096 8192 0" },
	{ "unlink v f", "unlink v f 0 0 0" },
	{ "defrag v f", "defrag v f 0 0 0" },
	{ "commit", "commit 0 0 0" },
	{ "drop-wait", "drop-wait 0 0 0" },
	{ "balance", "balance 0 0 0" },
	{ "check", "check 0 0 0" },
	{ "quota on", "quota on 0 0 0" },
	{ "quota on ledger", "quota on 0 0 0 engine=1" },
	{ "quota on extent", "quota on 0 0 0 engine=2" },
	{ "quota on oper", "quota on 0 0 0 engine=3" },
	{ "quota on simple", "quota on 0 0 0 engine=4" },
	{ "quota off", "quota off 0 0 0" },
	{ "rescan start", "rescan start 0 0 0" },
	{ "rescan wait", "rescan wait 0 0 0" },
	{ "rescan pause", "rescan pause 0 0 0" },
	{ "rescan resume", "rescan resume 0 0 0" },
	{ "rescan cancel", "rescan cancel 0 0 0" },
	{ "group create 1/100", "group create 0 0 0 1/100" },
	{ "group remove 1/100", "group remove 0 0 0 1/100" },
	{ "group remove v", "group remove 0 0 0 of:v" },
	{ "group assign v 1/100", "group assign 0 0 0 of:v 1/100" },
	{ "group assign 1/100 2/0", "group assign 0 0 0 1/100 2/0" },
	{ "group unassign v 1/100", "group unassign 0 0 0 of:v 1/100" },
	{ "limit v rfer 1m", "limit 1048576 0 0 of:v" },
	{ "limit 1/1 excl 1000", "limit 1000 0 0 1/1 flags=2" },
	{ "limit v rfer none", "limit 0 0 0 of:v flags=4" },
	{ "limit v excl none", "limit 0 0 0 of:v flags=6" },
	{ "dirty v f 4096 8192", "dirty v f 4096 8192 0" },
	{ "flush", "flush 0 0 0" },
	{ "flush v", "flush v 0 0 0" },
	{ "flush v f", "flush v f 0 0 0" },
	{ "drop-dirty v f 4096 8192", "drop-dirty v f 4096 8192 0" },
	{ "expect v rfer 17 excl 5", "expect 17 5 0 of:v" },
	{ "expect 1/1 rfer 16k excl 0", "expect 16384 0 0 1/1" },
	{ "expect v data-rfer 17 data-excl 5", "expect 17 5 0 of:v flags=8" },
	{ "expect reclaim v 17", "expect reclaim 17 0 0 of:v" },
	{ "expect reclaim v w rfer 1k", "expect reclaim 1024 0 0 of:v of:w of:rfer" },
	{ "fails EDQUOT write v f 0 4k", "write fails=EDQUOT v f 0 4096 0" },
	{ "fails ENOTSUP balance", "balance fails=EOPNOTSUPP 0 0 0" },
	{ "@0 commit", "commit thread=0 0 0 0" },
	{ "@255 fails EEXIST subvol v", "subvol thread=255 fails=EEXIST v 0 0 0" },
	{ " \tcommit\t # words", "commit 0 0 0" },
	{ "commit\r", "commit 0 0 0" },
	{ "delete v#1 #2", "delete v#1 0 0 0" },
};

static void script_forms(void **state)
{
	bool seen[SCRIPT_KINDS] = { false };
	size_t at;

	(void)state;
	for (at = 0; at < sizeof(forms) / sizeof(forms[0]); at++) {
		struct script *script = parse(forms[at].line);
		char text[200];

		assert_int_equal(script->operation_count, 1);
		print_operation(script, script->operations, text, sizeof(text));
		assert_string_equal(text, forms[at].read);
		seen[script->operations[0].kind] = true;
		script_free(script);
	}
	for (at = 0; at < SCRIPT_KINDS; at++)
		if (!seen[at])
			fail_msg("no line of kind %zu", at);
}

static const struct {
	const char *line;
	const char *what; /* part of the message */
} wrong[] = {
	{ "wirte v f 0 4k", "there is no operation 'wirte'" },
	{ "rescan", "there is no operation 'rescan'" },
	{ "rescan begin", "there is no operation 'rescan', nor 'rescan begin'" },
	{ "@1", "the operation is missing" },
	{ "fails EINVAL", "the operation is missing" },
	{ "fails", "wanted: ERRNO OPERATION" },
	{ "fails EWRONG commit", "there is no error 'EWRONG'" },
	{ "fails EIN commit", "there is no error 'EIN'" },
	{ "fails EPERM fails EPERM commit", "there is no operation 'fails'" },
	{ "@ commit", "threads are @0 to @255" },
	{ "@256 commit", "threads are @0 to @255" },
	{ "@1x commit", "threads are @0 to @255" },
	{ "@-1 commit", "threads are @0 to @255" },
	{ "@99999999999999999999999 commit", "threads are @0 to @255" },
	{ "@1 check", "check: not on a thread" },
	{ "@1 expect v rfer 1 excl 1", "expect: not on a thread" },
	{ "@1 expect reclaim v 1", "expect reclaim: not on a thread" },
	{ "commit now", "commit: 'now' is one too many; wanted: nothing more" },
	{ "write v f 0", "write: an argument is missing; wanted: V F OFF LEN" },
	{ "write", "write: an argument is missing" },
	{ "write v f 0 4k 4k", "write: '4k' is one too many" },
	{ "write v f 1 4k", "'1' is not a multiple of 4096" },
	{ "write v f 0 1k", "'1k' is not a multiple of 4096" },
	{ "truncate v f 4097", "'4097' is not a multiple" },
	{ "write v f -4096 4k", "'-4096' is no number of bytes" },
	{ "write v f 0x1000 4k", "'0x1000' is no number" },
	{ "write v f 4kk 4k", "'4kk' is no number" },
	{ "write v f k 4k", "'k' is no number" },
	{ "write v f 9223372036854775808 4k", "is no number of bytes" },
	{ "write v f 18446744073709555712 4k", "is no number of bytes" },
	{ "write v f 9007199254740992k 4k", "is no number of bytes" },
	{ "write v f 9223372036854771712 4k", "write: past the largest offset" },
	{ "clone v f 0 8k w g 9223372036854771712", "clone: past the largest offset" },
	{ "write 1/2 f 0 4k", "'1/2' is a group, not a subvolume" },
	{ "subvol 1/2", "'1/2' is a group" },
	{ "subvol a/b", "'a/b' is no name of a new subvolume" },
	{ "subvol a:b", "is no name of a new subvolume" },
	{ "subvol .", "'.' is no name of a new subvolume" },
	{ "subvol ..", "'..' is no name of a new subvolume" },
	{ "snapshot v id:5", "'id:5' is no name of a new subvolume" },
	{ "delete ../x", "'../x' is no name of a subvolume" },
	{ "delete a//b", "'a//b' is no name of a subvolume" },
	{ "delete /a", "'/a' is no name of a subvolume" },
	{ "delete a/", "'a/' is no name of a subvolume" },
	{ "delete id:x", "'id:x' is no name of a subvolume" },
	{ "write v a/b 0 4k", "'a/b' is no name of a file" },
	{ "write v .. 0 4k", "'..' is no name of a file" },
	{ "write v f* 0 4k", "'f*' is no name of a file" },
	{ "write v #f 0 4k", "write: an argument is missing" },
	{ "snapshot v", "snapshot: an argument is missing" },
	{ "snapshot v w group", "snapshot: an argument is missing" },
	{ "snapshot v w groups 1/2", "snapshot: 'groups' is one too many" },
	{ "snapshot v w group v", "'v' is no group L/ID" },
	{ "snapshot v w group 0/257", "'0/257': a group of level 0 is named by its subvolume" },
	{ "group create 70000/1", "'70000/1': no group has such a number" },
	{ "group create 1/281474976710656", "no group has such a number" },
	{ "group create v", "'v' is no group L/ID" },
	{ "group assign v", "group assign: an argument is missing" },
	{ "group", "there is no operation 'group'" },
	{ "quota", "there is no operation 'quota'" },
	{ "quota on fast", "there is no engine 'fast'" },
	{ "quota on simple now", "quota on: 'now' is one too many" },
	{ "limit v data 1", "limit: 'data' is wrong here" },
	{ "limit v rfer", "limit: an argument is missing" },
	{ "limit v rfer all", "'all' is no number" },
	{ "expect v", "expect: an argument is missing" },
	{ "expect v rfer 1", "expect: an argument is missing" },
	{ "expect v rfer 1 data-excl 1", "expect: 'data-excl' is wrong here" },
	{ "expect v data-rfer 1 excl 1", "expect: 'excl' is wrong here" },
	{ "expect v excl 1 rfer 1", "expect: 'excl' is wrong here" },
	{ "expect reclaim v", "expect reclaim: an argument is missing" },
	{ "expect reclaim 5", "expect reclaim: an argument is missing" },
	{ "expect reclaim v w", "'w' is no number" },
	{ "flush v f g", "flush: 'g' is one too many" },
	{ "wri\x01te", "a control character, 1" },
};

static void script_errors(void **state)
{
	size_t at;

	(void)state;
	for (at = 0; at < sizeof(wrong) / sizeof(wrong[0]); at++) {
		struct rs_error error = RS_ERROR_INIT;
		struct script *script = (void *)&error;
		char text[200];
		int length = snprintf(text, sizeof(text), "# first\n\ncommit\n%s\ncommit\n",
				      wrong[at].line);

		assert_int_equal(script_parse("a.script", text, (size_t)length, &script, &error),
				 -EINVAL);
		assert_null(script);
		assert_string_equal(error.where, "a.script:4");
		if (!strstr(error.what, wrong[at].what))
			fail_msg("'%s': '%s' is not in '%s'", wrong[at].line, wrong[at].what,
				 error.what);
	}
}

static void script_bytes(void **state)
{
	struct rs_error error = RS_ERROR_INIT;
	struct script *script;
	char name[400];
	char line[400];

	(void)state;
	assert_int_equal(script_parse("a", "commit\0x", 8, &script, &error), -EINVAL);
	assert_string_equal(error.where, "a:1");
	/* A long path leaves room for the line. */
	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = 0;
	assert_int_equal(script_parse(name, "commit\nx\n", 9, &script, &error), -EINVAL);
	assert_string_equal(error.where + strlen(error.where) - 2, ":2");
	snprintf(line, sizeof(line), "subvol %.255s", name);
	script = parse(line);
	script_free(script);
	snprintf(line, sizeof(line), "subvol %.256s", name);
	assert_int_equal(script_parse("a", line, strlen(line), &script, &error), -EINVAL);
	script_free(NULL);
}

/* Numbers of lines, names and places. */
static void script_whole(void **state)
{
	struct script *script = parse("# a comment\n"
				      "subvol v\n"
				      "\n"
				      "@3 write v f 0 4k\n"
				      "@1 clone v f 0 4k v g 0\n"
				      "  write v f 4k 4k  # again\n"
				      "unlink w f");
	const struct script_operation *operations = script->operations;
	size_t length;
	const char *line;

	(void)state;
	assert_int_equal(script->operation_count, 5);
	assert_int_equal(script->threads, 4);
	assert_int_equal(operations[0].line, 2);
	assert_int_equal(operations[1].line, 4);
	assert_int_equal(operations[4].line, 7);
	assert_int_equal(script->subvols.count, 2);
	assert_int_equal(script->files.count, 2);
	assert_int_equal(script->places.count, 3);
	assert_int_equal(operations[1].place, operations[2].place);
	assert_int_equal(operations[1].place, operations[3].place);
	assert_int_not_equal(operations[2].target_place, operations[3].place);
	assert_int_not_equal(operations[4].place, operations[3].place);
	line = script_line(script, 6, &length);
	assert_int_equal(length, strlen("write v f 4k 4k  # again"));
	assert_memory_equal(line, "write v f 4k 4k  # again", length);
	line = script_line(script, 7, &length);
	assert_int_equal(length, strlen("unlink w f"));
	assert_memory_equal(line, "unlink w f", length);
	script_free(script);
	script = parse("");
	assert_int_equal(script->operation_count, 0);
	script_free(script);
}

/* Many names: each keeps its number. */
static void script_many_names(void **state)
{
	struct script_names names = { .count = 0 };
	char key[16];
	uint32_t number;
	uint32_t at;

	(void)state;
	for (at = 0; at < 20000; at++) {
		int length = snprintf(key, sizeof(key), "n%u", at);

		assert_int_equal(script_names_add(&names, key, (size_t)length, &number), 0);
		assert_int_equal(number, at);
	}
	for (at = 0; at < 20000; at++) {
		int length = snprintf(key, sizeof(key), "n%u", at);

		assert_int_equal(script_names_add(&names, key, (size_t)length, &number), 0);
		assert_int_equal(number, at);
		assert_string_equal(script_names_at(&names, at), key);
	}
	assert_int_equal(names.count, 20000);
	script_names_destroy(&names);
}

/* Each allocation fails once; nothing is left behind. */
static void script_without_memory(void **state)
{
	const char *text = "subvol v\nwrite v f 0 4k\nclone v f 0 4k v g 0\n"
			   "limit v rfer 5\nsnapshot v w group 1/1\n";
	unsigned failures = 0;
	int ret;

	(void)state;
	do {
		struct rs_error error = RS_ERROR_INIT;
		struct script *script;

		alloc_fail_arm(failures + 1, 0);
		ret = script_parse("a", text, strlen(text), &script, &error);
		if (ret) {
			assert_int_equal(ret, -ENOMEM);
			assert_int_equal(error.code, -ENOMEM);
			assert_null(script);
			failures++;
		} else {
			script_free(script);
		}
	} while (ret);
	assert_int_equal(alloc_fail_count(), 0);
	alloc_fail_arm(0, 0);
	assert_true(failures > 10);
}

static void script_from_files(void **state)
{
	struct rs_error error = RS_ERROR_INIT;
	char path[] = "/tmp/refstorm-script-XXXXXX";
	struct script *script;
	int fd = mkstemp(path);
	unsigned at;

	(void)state;
	assert_true(fd >= 0);
	for (at = 0; at < 20000; at++)
		assert_int_equal(write(fd, "commit\n", 7), 7);
	assert_int_equal(script_read(path, &script, &error), 0);
	assert_int_equal(script->operation_count, 20000);
	script_free(script);
	close(fd);
	unlink(path);
	assert_int_equal(script_read(path, &script, &error), -ENOENT);
	assert_string_equal(error.where, path);
	assert_int_equal(script_read("/", &script, &error), -EISDIR);
}

static char *random_text(const struct script_random_options *options)
{
	struct rs_error error = RS_ERROR_INIT;
	char *text = NULL;
	size_t bytes;
	FILE *to = open_memstream(&text, &bytes);

	assert_non_null(to);
	if (script_random_write(options, to, &error))
		fail_msg("%s", error.what);
	fclose(to);
	return text;
}

/* Between two lines without a thread no file is used by two. */
static void check_users(const struct script *script)
{
	int *users = calloc(script->places.count + 1, sizeof(*users));
	size_t at;

	assert_non_null(users);
	for (at = 0; at < script->operation_count; at++) {
		const struct script_operation *operation = &script->operations[at];
		uint32_t places[2] = { operation->place, operation->target_place };
		unsigned end;

		if (operation->thread == SCRIPT_NO_THREAD) {
			memset(users, 0, script->places.count * sizeof(*users));
			continue;
		}
		for (end = 0; end < 2; end++) {
			/* What is read-only, or is not there, is nobody's. */
			if (places[end] == SCRIPT_NONE || operation->fails == EROFS ||
			    !strcmp(script_subvol_name(script, operation->subvol), "none"))
				continue;
			if (users[places[end]] && users[places[end]] != operation->thread + 1)
				fail_msg("line %u uses the file of thread %d", operation->line,
					 users[places[end]] - 1);
			users[places[end]] = operation->thread + 1;
		}
	}
	free(users);
}

static void check_random(const struct script_random_options *options)
{
	char *text = random_text(options);
	char *again = random_text(options);
	struct script *script = parse(text);
	unsigned counts[SCRIPT_KINDS] = { 0 };
	unsigned fails = 0;
	size_t at;

	assert_string_equal(text, again);
	assert_int_equal(script->operation_count, options->operations);
	assert_int_equal(script->threads, options->threads);
	for (at = 0; at < script->operation_count; at++) {
		counts[script->operations[at].kind]++;
		fails += script->operations[at].fails != 0;
	}
	assert_true(counts[SCRIPT_WRITE] && counts[SCRIPT_SNAPSHOT] && counts[SCRIPT_DELETE] &&
		    counts[SCRIPT_COMMIT] && fails);
	assert_true(fails < options->operations / 10);
	if (!strcmp(options->profile, "mixed"))
		for (at = 0; at < SCRIPT_BALANCE; at++)
			assert_true(counts[at] || (at == SCRIPT_DEFRAG && options->no_defrag));
	assert_true(!counts[SCRIPT_DEFRAG] || !options->no_defrag);
	assert_int_equal(counts[SCRIPT_CHECK] > 0, options->checks);
	check_users(script);
	script_free(script);
	free(again);
	free(text);
}

static void script_random_valid(void **state)
{
	uint64_t seed = threads_data_seed("script_random_valid");
	const char *about;
	unsigned profile;
	const char *name;

	(void)state;
	for (profile = 0; (name = script_random_profile(profile, &about)); profile++) {
		struct script_random_options options = {
			.seed = seed + profile,
			.operations = 16000, /* so that nothing is missing by chance */
			.profile = name,
		};

		check_random(&options);
		options.threads = 4;
		options.no_defrag = true;
		options.checks = true;
		check_random(&options);
	}
	assert_true(profile >= 5);
}

static void script_random_differs(void **state)
{
	struct script_random_options options = { .seed = 1, .operations = 50, .profile = "files" };
	char *one = random_text(&options);
	char *other;
	FILE *full = fopen("/dev/full", "w");
	struct rs_error error = RS_ERROR_INIT;

	(void)state;
	options.seed = 2;
	other = random_text(&options);
	/* Behind the comment, which names the seed. */
	assert_string_not_equal(strchr(one, '\n'), strchr(other, '\n'));
	free(one);
	free(other);
	assert_non_null(full);
	setvbuf(full, NULL, _IONBF, 0);
	assert_int_equal(script_random_write(&options, full, &error), -EIO);
	options.profile = "none";
	assert_int_equal(script_random_write(&options, full, &error), -EINVAL);
	options.profile = "files";
	options.threads = SCRIPT_RANDOM_THREADS_MAX + 1;
	assert_int_equal(script_random_write(&options, full, &error), -EINVAL);
	fclose(full);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(script_forms),          cmocka_unit_test(script_errors),
		cmocka_unit_test(script_bytes),          cmocka_unit_test(script_whole),
		cmocka_unit_test(script_many_names),     cmocka_unit_test(script_without_memory),
		cmocka_unit_test(script_from_files),     cmocka_unit_test(script_random_valid),
		cmocka_unit_test(script_random_differs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
