/* SPDX-License-Identifier: MIT */
#include "cli/mutants_build.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/cli.h"
#include "core/base/alloc.h"

#define LIMIT_NORMAL_S 300.0

struct build_cache {
	bool found; /* the project's own variables are in it */
	bool plants;
	bool thread;
	bool sanitized;
};

static bool build_is_true(const char *value)
{
	static const char *const words[] = { "ON", "1", "TRUE", "YES", "Y" };
	size_t at;

	for (at = 0; at < sizeof(words) / sizeof(words[0]); at++)
		if (!strcasecmp(value, words[at]))
			return true;
	return false;
}

static void build_cache_line(struct build_cache *cache, char *line)
{
	const char *value = strchr(line, '=');

	line[strcspn(line, "\r\n")] = 0;
	if (!value)
		return;
	value++;
	if (!strncmp(line, "RS_PLANTS:", 10)) {
		cache->found = true;
		cache->plants = build_is_true(value);
	} else if (!strncmp(line, "RS_SANITIZE:", 12)) {
		cache->sanitized = *value;
		cache->thread = !strcmp(value, "thread");
	}
}

static bool build_cache_read(const char *path, struct build_cache *cache)
{
	char *name = NULL;
	char *line = NULL;
	size_t room = 0;
	FILE *file = NULL;

	if (asprintf(&name, "%s/CMakeCache.txt", path) >= 0)
		file = fopen(name, "re");
	free(name);
	if (!file) {
		cli_message("%s: no build directory: its CMakeCache.txt cannot be read: %s", path,
			    strerror(errno));
		return false;
	}
	while (getline(&line, &room, file) >= 0)
		build_cache_line(cache, line);
	free(line);
	fclose(file);
	if (!cache->found) {
		cli_message("%s: not a build of this project", path);
		return false;
	}
	if (!cache->plants)
		cli_message("%s: a build without planted bugs; make one with cmake --preset plants",
			    path);
	return cache->plants;
}

/* Its standard output is at `*out`. */
static pid_t build_ctest_start(const char *path, FILE **out)
{
	int ends[2];
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC))
		return -1;
	fflush(NULL);
	pid = fork();
	if (!pid) {
		if (dup2(ends[1], STDOUT_FILENO) >= 0)
			execlp("ctest", "ctest", "--test-dir", path, "--show-only=json-v1",
			       (char *)NULL);
		_exit(127);
	}
	close(ends[1]);
	*out = pid < 0 ? NULL : fdopen(ends[0], "r");
	if (!*out)
		close(ends[0]);
	return pid;
}

static bool build_list_tests(const char *path, json_t **tests)
{
	FILE *out = NULL;
	pid_t pid = build_ctest_start(path, &out);
	json_error_t error = { 0 };
	int status = -1;

	if (out) {
		*tests = json_loadf(out, 0, &error);
		fclose(out);
	}
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (*tests && !status)
		return true;
	if (status >= 0 && WIFEXITED(status) && WEXITSTATUS(status) == 127)
		cli_message("%s: ctest cannot be run, which knows the tests of a build", path);
	else
		cli_message("%s: ctest does not list the tests of this build%s%s", path,
			    error.text[0] ? ": " : "", error.text);
	return false;
}

/* The texts of an array, NULL at the end; NULL if it is none, or there is no memory. */
static const char *const *build_texts(const json_t *array)
{
	size_t count = json_array_size(array);
	const char **texts = count ? alloc_zeroed(count + 1, sizeof(*texts)) : NULL;
	size_t at;

	for (at = 0; texts && at < count; at++) {
		texts[at] = json_string_value(json_array_get(array, at));
		if (!texts[at]) {
			alloc_free(texts);
			return NULL;
		}
	}
	return texts;
}

static void build_property(struct mutants_check *check, const char *name, const json_t *value)
{
	if (!strcmp(name, "ENVIRONMENT"))
		check->environment = build_texts(value);
	else if (!strcmp(name, "WORKING_DIRECTORY"))
		check->folder = json_string_value(value);
	else if (!strcmp(name, "TIMEOUT") && json_number_value(value) > 0)
		check->limit_s = json_number_value(value);
}

static void build_check(struct mutants_check *check, const json_t *test)
{
	const json_t *properties = json_object_get(test, "properties");
	const char *name = json_string_value(json_object_get(test, "name"));
	size_t at;

	check->name = name ? name : "";
	check->command = build_texts(json_object_get(test, "command"));
	check->limit_s = LIMIT_NORMAL_S;
	for (at = 0; at < json_array_size(properties); at++) {
		const json_t *property = json_array_get(properties, at);
		const char *key = json_string_value(json_object_get(property, "name"));

		if (key)
			build_property(check, key, json_object_get(property, "value"));
	}
}

static bool build_checks(const struct mutants_build_source *source, struct mutants_build *build)
{
	const json_t *tests = json_object_get(source->tests, "tests");
	size_t count = json_array_size(tests);

	if (!count) {
		cli_message("%s: this build has no tests", source->path);
		return false;
	}
	build->checks = alloc_zeroed(count, sizeof(*build->checks));
	if (!build->checks) {
		cli_message("%s: no memory for the list of tests", source->path);
		return false;
	}
	for (; build->check_count < count; build->check_count++)
		build_check(&build->checks[build->check_count],
			    json_array_get(tests, build->check_count));
	return true;
}

bool mutants_build_open(const char *path, struct mutants_build_source *source,
			struct mutants_build *build)
{
	struct build_cache cache = { 0 };

	*source = (struct mutants_build_source){ 0 };
	*build = (struct mutants_build){ 0 };
	if (!build_cache_read(path, &cache))
		return false;
	source->path = realpath(path, NULL);
	if (!source->path) {
		cli_message("%s: %s", path, strerror(errno));
		return false;
	}
	build->path = source->path;
	build->tsan = cache.thread;
	build->preset = cache.thread ? "plants-tsan" : cache.sanitized ? "plants-asan" : "plants";
	return build_list_tests(source->path, &source->tests) && build_checks(source, build);
}

void mutants_build_close(struct mutants_build_source *source, struct mutants_build *build)
{
	size_t at;

	for (at = 0; at < build->check_count; at++) {
		alloc_free((void *)build->checks[at].command);
		alloc_free((void *)build->checks[at].environment);
	}
	alloc_free(build->checks);
	json_decref(source->tests);
	free(source->path);
	*source = (struct mutants_build_source){ 0 };
	*build = (struct mutants_build){ 0 };
}
