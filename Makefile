# cpagent: one non-recursive Makefile.
#   make            build everything            make check    install what is missing, run all tests
#   make demo       the main job on a small cluster on this machine
#   make bench      figures against peers       make layers   check that dependencies run one way
#   make install DESTDIR= PREFIX=               make clean
#   SAN=address,undefined or SAN=thread builds with sanitizers, in a directory of its own.

PREFIX ?= /usr/local
CC ?= cc
SAN ?=
PROTOC ?= protoc
PKGS := libuv libsodium nanomsg libnl-3.0 libnl-genl-3.0 libprotobuf-c jansson libzstd libxxhash lmdb libarchive

comma := ,
variant := $(filter-out cc,$(firstword $(filter-out ccache distcc,$(notdir $(CC)))))$(if $(SAN),-$(subst $(comma),-,$(SAN)))
B := build/$(if $(variant),$(variant:-%=%),default)

WARN := -Wall -Wextra -Wconversion -Werror $(if $(findstring clang,$(CC)),,-Wno-format-truncation)
OPT ?= -O2
CPPFLAGS += -D_GNU_SOURCE -I. -I$(B)/gen -Ihooks
CFLAGS += -std=gnu11 $(OPT) -g -fPIC -fvisibility=hidden -pthread $(WARN) -MMD -MP
SANFLAGS := $(if $(SAN),-fsanitize=$(SAN) -fno-omit-frame-pointer -fno-sanitize-recover=all)
PKG_CFLAGS := $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
# libarchive is loaded, not linked: see lib/archive/libarchive.h
PKG_LIBS := $(shell pkg-config --libs $(filter-out libarchive,$(PKGS)) 2>/dev/null) -lm
ARCHIVE_LIBS := $(shell pkg-config --libs libarchive 2>/dev/null) # for tests that make archives of their own

# ---- what there is -------------------------------------------------------------------------------
PROTO_SRC := $(wildcard lib/wire/*.proto agent/ports/*.proto)
PROTO_C := $(PROTO_SRC:%.proto=$(B)/gen/%.pb-c.c)
LIB_SRC := $(wildcard lib/base/*.c lib/arena/*.c lib/archive/*.c lib/wire/*.c lib/chunk/*.c)
AGENT_SRC := $(filter-out agent/main.c,$(wildcard agent/*.c agent/core/*.c agent/ports/*.c))
CLI_SRC := $(filter-out agent/cli/main.c,$(wildcard agent/cli/*.c))
HOOKS_SRC := $(wildcard hooks/*.c)
EXAMPLES := $(patsubst %.c,$(B)/%,$(wildcard hooks/examples/*.c))
JOBS := $(patsubst %.c,$(B)/%,$(wildcard tests/system/jobs/*.c))
UNIT := $(patsubst %.c,$(B)/%,$(wildcard tests/unit/test_*.c tests/sim/test_*.c))
# what the hook library needs of lib: the arena alone, and it needs nothing but libc
ARENA_SRC := $(wildcard lib/arena/*.c)

obj = $(patsubst %.c,$(B)/%.o,$(1))
LIB_OBJ := $(call obj,$(LIB_SRC)) $(PROTO_C:.c=.o)

# The other languages. What is for Fortran is built where there is a compiler for it. An interpreter cannot load a
# sanitized library, so bindings are tested as users have them: with sanitizers, from a build of their own.
ifeq ($(origin FC),default)
FC := gfortran
endif
PLAIN := $(B)$(if $(SAN),/plain)
FORTRAN_DIR := $(if $(SAN),,$(dir $(shell $(FC) -print-file-name=include/ISO_Fortran_binding.h 2>/dev/null)))
FORTRAN := $(if $(FORTRAN_DIR),$(B)/libcpagent_fortran.a)
FORTRAN_SRC := $(wildcard hooks/fortran/*.c)
FORTRAN_TESTS := $(patsubst %.f90,$(B)/%,$(wildcard tests/bindings/test_*.f90))
FORTRAN_PROGRAMS := $(if $(FORTRAN),$(B)/hooks/examples/heat_fortran $(FORTRAN_TESTS))
FFLAGS = $(OPT) -g -fPIC -Wall -Wextra -Wno-c-binding-type -Wno-compare-reals -Wno-function-elimination -Werror

PROGRAMS := $(B)/cpagentd $(B)/cpagent $(B)/cpinit $(B)/cpfence
HOOK_LIBS := $(B)/libcpagent.so $(B)/libcpagent.a $(B)/libcpagent-archive.so.1

.PHONY: all check check-unit check-bindings check-system demo bench deps install layers clean
.DELETE_ON_ERROR:
.SECONDARY:
all: $(PROGRAMS) $(HOOK_LIBS) $(EXAMPLES) fortran

# ---- programs ------------------------------------------------------------------------------------
$(B)/libbase.a: $(LIB_OBJ) $(call obj,$(AGENT_SRC) $(CLI_SRC))
	@rm -f $@
	@ar rcs $@ $^

$(B)/cpagentd: $(B)/agent/main.o $(B)/libbase.a
$(B)/cpagent: $(B)/agent/cli/main.o $(B)/libbase.a
$(B)/cpfence: $(B)/agent/init/cpfence.o $(B)/libbase.a
$(B)/cpagentd $(B)/cpagent $(B)/cpfence:
	@echo "  LD    $@"
	@$(CC) $(SANFLAGS) $(LDFLAGS) -pthread -o $@ $^ $(PKG_LIBS)

# cpinit is pid 1 of every job and part of every image: static, small, never sanitized
CPINIT_SRC := $(addprefix agent/init/,cpinit.c spec.c mounts.c command.c)
$(B)/cpinit: $(CPINIT_SRC) $(wildcard agent/init/*.h)
	@mkdir -p $(@D)
	@echo "  LD    $@"
	@$(CC) $(CPPFLAGS) -std=gnu11 -Os $(WARN) -static -s -o $@ $(CPINIT_SRC)

# never unloaded: its signal handlers and exit function stay
$(B)/libcpagent.so: $(call obj,$(HOOKS_SRC) $(ARENA_SRC))
	@echo "  LD    $@"
	@$(CC) $(SANFLAGS) $(LDFLAGS) -shared -Wl,-soname,libcpagent.so.1 -Wl,-z,nodelete -o $@ $^
	@ln -sf libcpagent.so $(B)/libcpagent.so.1

# what libcpagent loads for cpa_save and cpa_load, so that it depends on nothing but libc itself
$(B)/libcpagent-archive.so.1: $(call obj,$(wildcard lib/archive/*.c lib/base/*.c) $(ARENA_SRC))
	@echo "  LD    $@"
	@$(CC) $(SANFLAGS) $(LDFLAGS) -shared -Wl,-soname,$(@F) -o $@ $^ $(shell pkg-config --libs jansson)

$(B)/libcpagent.a: $(call obj,$(HOOKS_SRC) $(ARENA_SRC))
	@rm -f $@
	@ar rcs $@ $^

# programs with the static library find it by their own path, as installed ones find it by the loader's
BESIDE := -Wl,-rpath,'$$ORIGIN/../..'
$(EXAMPLES) $(JOBS): $(B)/%: $(B)/%.o $(B)/libcpagent.a
	@$(CC) $(SANFLAGS) $(LDFLAGS) $(BESIDE) $(OPENMP) -pthread -o $@ $^ -lm

# with OpenMP where the compiler has it (and no sanitizer, which does not understand it); it runs without, too
$(B)/hooks/examples/openmp: OPENMP := $(if $(SAN),,$(shell echo 'int main(void) { return 0; }' | \
	$(CC) -fopenmp -x c -o /dev/null - 2>/dev/null && echo -fopenmp))
$(B)/hooks/examples/openmp.o: CFLAGS += $(OPENMP)

# ---- Fortran -------------------------------------------------------------------------------------
fortran: $(FORTRAN)
.PHONY: fortran

# ISO_Fortran_binding.h is beside gfortran's own headers: last, so that another compiler keeps its own
$(call obj,$(FORTRAN_SRC)): CPPFLAGS += $(if $(FORTRAN_DIR),-idirafter $(FORTRAN_DIR))
# base.f90 first, cpagent.f90, which is all that programs see, last; .mod files come with the objects
FORTRAN_MODULES := $(patsubst %.f90,$(B)/%.o,$(wildcard hooks/fortran/*.f90))
$(B)/libcpagent_fortran.a: $(FORTRAN_MODULES) $(call obj,$(FORTRAN_SRC))
	@rm -f $@
	@ar rcs $@ $^
$(FORTRAN_MODULES): $(B)/%.o: %.f90
	@mkdir -p $(@D)
	@echo "  FC    $<"
	@$(FC) $(FFLAGS) -J $(@D) -c -o $@ $<
$(filter-out %/base.o,$(FORTRAN_MODULES)): $(B)/hooks/fortran/base.o
$(B)/hooks/fortran/cpagent.o: $(filter-out %/cpagent.o,$(FORTRAN_MODULES))
$(B)/hooks/examples/heat_fortran: hooks/examples/heat.f90
$(FORTRAN_TESTS): $(B)/%: tests/bindings/counts.f90 %.f90
$(FORTRAN_TESTS): OPT := -O3
$(FORTRAN_PROGRAMS): $(B)/libcpagent_fortran.a $(B)/libcpagent.a
	@mkdir -p $@.mod
	@echo "  FC    $(lastword $(filter %.f90,$^))"
	@$(FC) $(FFLAGS) -I $(B)/hooks/fortran -J $@.mod $(LDFLAGS) $(BESIDE) -pthread -o $@ $(filter %.f90,$^) $(filter %.a,$^)

$(UNIT): $(B)/%: $(B)/%.o $(call obj,$(wildcard tests/unit/harness.c tests/sim/sim*.c)) $(B)/libbase.a $(B)/libcpagent.a
	@$(CC) $(SANFLAGS) $(LDFLAGS) $(BESIDE) -pthread -o $@ $^ -lcunit $(PKG_LIBS) $(ARCHIVE_LIBS)

$(B)/tests/unit/test_launch $(B)/tests/unit/test_launch_world: | $(B)/cpinit
$(B)/tests/unit/test_levels: | $(B)/cpagentd
$(B)/tests/unit/test_snapshot $(B)/tests/unit/test_snapshot_faults $(B)/tests/bench/bench_snapshot: | $(B)/cpinit $(B)/tests/unit/snapshot_job

# runs inside jobs that are dumped: never sanitized
$(B)/tests/unit/snapshot_job: tests/unit/snapshot_job.c
	@mkdir -p $(@D)
	@$(CC) -D_GNU_SOURCE -std=gnu11 -O2 $(WARN) -MMD -MP -MF $@.d -o $@ $<
$(B)/tests/unit/test_fence: | $(B)/cpfence
$(B)/tests/unit/test_archive_hooks: | $(B)/libcpagent-archive.so.1

# ---- objects -------------------------------------------------------------------------------------
$(B)/%.o: %.c | $(PROTO_C)
	@mkdir -p $(@D)
	@echo "  CC    $<"
	@$(CC) $(CPPFLAGS) $(CFLAGS) $(SANFLAGS) $(PKG_CFLAGS) -c -o $@ $<

$(B)/gen/%.pb-c.o: $(B)/gen/%.pb-c.c
	@$(CC) -I$(B)/gen -std=gnu11 $(OPT) -g -fPIC $(SANFLAGS) $(PKG_CFLAGS) -c -o $@ $<

$(B)/gen/%.pb-c.c: %.proto
	@mkdir -p $(@D) $(B)/gen
	@echo "  PROTO $<"
	@$(PROTOC) --c_out=$(B)/gen $<

# ---- tests, demo, bench --------------------------------------------------------------------------
deps:
	@packaging/deps

# A fresh machine may lack the libraries that decide the flags above, so check and demo install
# first and then call make again. As many compilers as there are processors, unless the user said -j.
PARALLEL = $(if $(findstring jobserver,$(MAKEFLAGS)),,-j$(shell nproc))

check: deps
	@$(MAKE) --no-print-directory $(PARALLEL) all unit aids bindings
	@$(MAKE) --no-print-directory $(PARALLEL) fuzzers
	@B=$(B) SAN=$(SAN) CC=$(CC) tests/run

unit: $(UNIT)
.PHONY: unit

# what tests need besides the programs: programs for jobs, and what is preloaded into CRIU, so never sanitized
aids: $(B)/tests/rlimit_preload.so $(JOBS)
.PHONY: aids
$(B)/tests/rlimit_preload.so: tests/rlimit_preload.c
	@mkdir -p $(@D)
	@$(CC) -D_GNU_SOURCE -std=gnu11 -O2 $(WARN) -fPIC -fvisibility=hidden -shared -o $@ $<

# Fuzzers: clang's, in a build of their own in which everything is instrumented.
FUZZERS := $(patsubst %.c,$(B)/%,$(wildcard tests/fuzz/fuzz_*.c))
fuzzers:
	@$(MAKE) --no-print-directory CC=clang SAN=fuzzer-no-link,address,undefined B=build/fuzz fuzz-programs
fuzz-programs: $(FUZZERS)
.PHONY: fuzzers fuzz-programs
$(FUZZERS): $(B)/%: $(B)/%.o $(B)/libbase.a $(B)/libcpagent.a
	@$(CC) -fsanitize=fuzzer,address,undefined -pthread -o $@ $^ $(PKG_LIBS) $(ARCHIVE_LIBS)

# twenty seconds for each; a finding is left beside the fuzzer
fuzz: fuzzers
	@for f in $(wildcard tests/fuzz/fuzz_*.c); do echo "  FUZZ  $$f"; \
		build/fuzz/$${f%.c} -max_total_time=20 -max_len=4096 -verbosity=0 -print_final_stats=0 \
			-artifact_prefix=build/fuzz/ || exit 1; done
.PHONY: fuzz

check-unit: unit
	@B=$(B) SAN=$(SAN) CC=$(CC) tests/run unit

# what tests/bindings runs, and builds on
bindings: bindings-$(if $(SAN),elsewhere,here)
bindings-here: $(HOOK_LIBS) $(EXAMPLES) $(FORTRAN) $(FORTRAN_PROGRAMS)
bindings-elsewhere:
	@$(MAKE) --no-print-directory SAN= B=$(PLAIN) bindings-here
.PHONY: bindings bindings-here bindings-elsewhere

check-bindings: bindings
	@B=$(B) SAN=$(SAN) CC=$(CC) tests/run bindings

check-system: all aids bindings
	@B=$(B) SAN=$(SAN) CC=$(CC) tests/run system

demo: deps
	@$(MAKE) --no-print-directory all
	@B=$(B) tests/demo

bench:
	@packaging/deps bench
	@$(MAKE) --no-print-directory all benches
	@B=$(B) tests/bench/run

BENCHES := $(patsubst %.c,$(B)/%,$(wildcard tests/bench/bench_*.c))
BENCH_AIDS := $(call obj,$(addprefix tests/bench/,timing.c resp.c scratch_arena.c))
# one program, once with the library and once without it
BENCH_IDLE := $(B)/tests/bench/idle_with $(B)/tests/bench/idle_without
benches: $(BENCHES) $(BENCH_IDLE)
.PHONY: benches
$(B)/tests/bench/idle_with: tests/bench/idle.c $(B)/libcpagent.so
	@mkdir -p $(@D)
	@$(CC) $(CPPFLAGS) -std=gnu11 -O2 $(WARN) -DLINKED -o $@ $< -L$(B) -lcpagent -Wl,-rpath,$(abspath $(B))
$(B)/tests/bench/idle_without: tests/bench/idle.c
	@mkdir -p $(@D)
	@$(CC) $(CPPFLAGS) -std=gnu11 -O2 $(WARN) -o $@ $<
$(BENCHES): $(B)/%: $(B)/%.o $(BENCH_AIDS) $(B)/libbase.a $(B)/libcpagent.a
	@$(CC) $(SANFLAGS) $(LDFLAGS) -pthread -o $@ $^ $(PKG_LIBS)

layers:
	@tests/layers

# ---- install -------------------------------------------------------------------------------------
BINDIR ?= $(PREFIX)/bin
SBINDIR ?= $(PREFIX)/sbin
LIBDIR ?= $(PREFIX)/lib
LIBEXECDIR ?= $(PREFIX)/libexec/cpagent
INCLUDEDIR ?= $(PREFIX)/include
MANDIR ?= $(PREFIX)/share/man
DOCDIR ?= $(PREFIX)/share/doc/cpagent
# where Debian's python3 looks, with PREFIX=/usr; elsewhere say so in PYTHONPATH, or name the place
PYTHONDIR ?= $(PREFIX)/lib/python3/dist-packages
UNITDIR ?= $(PREFIX)/lib/systemd/system
SYSCONFDIR ?= $(if $(filter /usr /usr/local,$(PREFIX)),/etc,$(PREFIX)/etc)
VERSION := $(shell sed -n 's/^\#define CPAGENT_VERSION "\(.*\)"/\1/p' agent/version.h)
MANPAGES := $(wildcard docs/man/*.1 docs/man/*.3 docs/man/*.5 docs/man/*.8)
FILL = sed -e 's|@PREFIX@|$(PREFIX)|g; s|@LIBDIR@|$(LIBDIR)|g; s|@INCLUDEDIR@|$(INCLUDEDIR)|g' \
	-e 's|@SBINDIR@|$(SBINDIR)|g; s|@SYSCONFDIR@|$(SYSCONFDIR)|g; s|@VERSION@|$(VERSION)|g'

install: all
	install -d $(addprefix $(DESTDIR),$(BINDIR) $(SBINDIR) $(LIBDIR)/pkgconfig $(LIBEXECDIR) $(INCLUDEDIR) \
		$(UNITDIR) $(SYSCONFDIR)/cpagent)
	install -m 755 $(B)/cpagent $(DESTDIR)$(BINDIR)
	install -m 755 $(B)/cpagentd $(DESTDIR)$(SBINDIR)
	install -m 755 $(B)/cpinit $(B)/cpfence $(DESTDIR)$(LIBEXECDIR)
	install -m 755 $(B)/libcpagent.so $(DESTDIR)$(LIBDIR)/libcpagent.so.1
	ln -sf libcpagent.so.1 $(DESTDIR)$(LIBDIR)/libcpagent.so
	install -m 755 $(B)/libcpagent-archive.so.1 $(DESTDIR)$(LIBDIR)
	install -m 644 $(B)/libcpagent.a $(DESTDIR)$(LIBDIR)
	install -d $(DESTDIR)$(INCLUDEDIR)/cpagent
	install -m 644 hooks/cpagent.h hooks/cpagent.hpp $(DESTDIR)$(INCLUDEDIR)
	install -m 644 hooks/cpagent/*.h $(DESTDIR)$(INCLUDEDIR)/cpagent
	install -d $(DESTDIR)$(PYTHONDIR)/cpagent
	install -m 644 hooks/python/cpagent/*.py hooks/python/cpagent/py.typed $(DESTDIR)$(PYTHONDIR)/cpagent
	install -d $(DESTDIR)$(PYTHONDIR)/cpagent-$(VERSION).dist-info
	$(FILL) packaging/python-metadata.in >$(DESTDIR)$(PYTHONDIR)/cpagent-$(VERSION).dist-info/METADATA
ifneq ($(FORTRAN),)
	install -m 644 $(FORTRAN) $(DESTDIR)$(LIBDIR)
	install -m 644 $(B)/hooks/fortran/cpagent.mod $(DESTDIR)$(INCLUDEDIR)/cpagent
	$(FILL) packaging/cpagent_fortran.pc.in >$(DESTDIR)$(LIBDIR)/pkgconfig/cpagent_fortran.pc
endif
	$(FILL) packaging/cpagent.pc.in >$(DESTDIR)$(LIBDIR)/pkgconfig/cpagent.pc
	$(FILL) packaging/systemd/cpagentd.service.in >$(DESTDIR)$(UNITDIR)/cpagentd.service
	$(FILL) packaging/cpagentd.conf.example >$(DESTDIR)$(SYSCONFDIR)/cpagent/cpagentd.conf.example
	$(foreach m,$(MANPAGES),install -D -m 644 $(m) $(DESTDIR)$(MANDIR)/man$(subst .,,$(suffix $(m)))/$(notdir $(m)) &&) :
	install -d $(DESTDIR)$(DOCDIR)/examples
	install -m 644 hooks/examples/* $(DESTDIR)$(DOCDIR)/examples
	install -m 644 README.md LICENSE docs/guide.md $(DESTDIR)$(DOCDIR)
	packaging/man-aliases $(DESTDIR)$(MANDIR)/man3 $(filter %.3,$(MANPAGES))

clean:
	rm -rf build

-include $(shell find $(B) -name '*.d' 2>/dev/null)
