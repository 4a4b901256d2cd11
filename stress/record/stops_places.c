/* SPDX-License-Identifier: MIT */
/* Which functions the addresses of stopped threads lie in, by the program's own symbols. */
#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/alloc.h"
#include "stress/record/stops.h"

#define PLACES_MAX 256U

static struct stops_place places[PLACES_MAX];
static unsigned place_count;

/* The program itself comes first. */
static int places_base(struct dl_phdr_info *info, size_t bytes, void *base)
{
	(void)bytes;
	*(uint64_t *)base = info->dlpi_addr;
	return 1;
}

static void places_add(const char *name)
{
	unsigned at = 0;

	while (at < place_count && strcmp(places[at].name, name) != 0)
		at++;
	if (at == PLACES_MAX)
		return;
	if (at == place_count) {
		char *kept = alloc_string(name);

		/* Kept to the end of the program. */
		places[place_count++].name = kept ? kept : "?";
	}
	places[at].stops++;
}

/* The symbol that the address lies in, or NULL. */
static const char *places_symbol(const uint8_t *image, const ElfW(Shdr) * symbols,
				 const char *names, uint64_t address)
{
	const ElfW(Sym) *all = (const ElfW(Sym) *)(const void *)(image + symbols->sh_offset);
	size_t count = symbols->sh_size / sizeof(all[0]);
	size_t at;

	for (at = 0; at < count; at++)
		if ((all[at].st_info & 15) == STT_FUNC && address >= all[at].st_value &&
		    address - all[at].st_value < all[at].st_size)
			return names + all[at].st_name;
	return NULL;
}

/* Of a library only what it exports is known. */
static const char *places_library(uint64_t address)
{
	Dl_info about;

	if (!dladdr((void *)(uintptr_t)address, &about))
		return "(kernel)";
	return about.dli_sname ? about.dli_sname : about.dli_fname ? about.dli_fname : "(library)";
}

static void places_resolve(const uint8_t *image, const struct shared_tracer *tracer)
{
	const ElfW(Ehdr) *header = (const ElfW(Ehdr) *)(const void *)image;
	const ElfW(Shdr) *sections = (const ElfW(Shdr) *)(const void *)(image + header->e_shoff);
	const ElfW(Shdr) *symbols = NULL;
	const char *name;
	uint64_t base = 0;
	unsigned at;

	for (at = 0; at < header->e_shnum; at++)
		if (sections[at].sh_type == SHT_SYMTAB)
			symbols = &sections[at];
	dl_iterate_phdr(places_base, &base);
	for (at = 0; symbols && at < tracer->address_count; at++) {
		name = places_symbol(image, symbols,
				     (const char *)image + sections[symbols->sh_link].sh_offset,
				     tracer->addresses[at] - base);
		places_add(name ? name : places_library(tracer->addresses[at]));
	}
}

static int places_order(const void *a, const void *b)
{
	const struct stops_place *left = a;
	const struct stops_place *right = b;

	return (left->stops < right->stops) - (left->stops > right->stops);
}

void stops_places_find(struct shared *shared)
{
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	struct stat about;
	void *image;

	if (fd < 0)
		return;
	if (!fstat(fd, &about)) {
		image = mmap(NULL, (size_t)about.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
		if (image != MAP_FAILED) {
			places_resolve(image, &shared->tracer);
			munmap(image, (size_t)about.st_size);
		}
	}
	close(fd);
	qsort(places, place_count, sizeof(places[0]), places_order);
}

bool stops_place(unsigned at, struct stops_place *place)
{
	if (at >= place_count)
		return false;
	*place = places[at];
	return true;
}
