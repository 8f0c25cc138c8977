# p2ptls: targets all, check, check-long, bench, bench-quick, lint, format, unit, valgrind, fuzz, fuzz-replay, install,
# clean;
# SANITIZE=address,undefined|thread, NONCE_AUDIT=1, HELGRIND=1 for instrumented builds.
VERSION   := 0.1.0
CC        ?= gcc
CXX       ?= g++
PREFIX    ?= /usr/local
LIBDIR    ?= $(PREFIX)/lib/p2ptls
BINDIR    ?= $(PREFIX)/bin
LIBEXECDIR ?= $(PREFIX)/libexec/p2ptls
DOCDIR    ?= $(PREFIX)/share/doc/p2ptls
MANDIR    ?= $(PREFIX)/share/man
BASHCOMPDIR ?= $(PREFIX)/share/bash-completion/completions
ZSHCOMPDIR ?= $(PREFIX)/share/zsh/site-functions
INCDIR    ?= $(PREFIX)/include

SANITIZE  ?=
BUILD     ?= build$(if $(SANITIZE),-$(subst $(comma),-,$(SANITIZE)))$(if $(NONCE_AUDIT),-audit)$(if $(HELGRIND),-helgrind)
comma     := ,
HELGRIND_FLAGS := $(if $(HELGRIND),-include tests/instrumented/helgrind_atomics.h -Wno-shadow -Wno-undef)
SANITIZERS := $(if $(SANITIZE),-fsanitize=$(SANITIZE) -fno-sanitize-recover=all)

# Whatever a packager's flags say, without fortification (-D_FORTIFY_SOURCE): its headers define read, poll and others as
# inline functions, and the hooks are functions of these names. lintian tells of that as a hint.
WARN      := -Wall -Wextra -Wshadow -Wpointer-arith -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wundef -Wwrite-strings -Werror
OPT       ?= -O2
CFLAGS    ?= -g
ALL_CFLAGS = -std=gnu11 $(OPT) $(CFLAGS) $(WARN) -D_GNU_SOURCE -DP2PTLS_VERSION='"$(VERSION)"' -Isrc -MMD -MP -fPIC -fvisibility=hidden \
             -fno-strict-aliasing -fstack-protector-strong \
             $(if $(SANITIZE),$(SANITIZERS) -fno-omit-frame-pointer -DP2PTLS_SANITIZED,-U_FORTIFY_SOURCE) \
             $(if $(NONCE_AUDIT),-DP2PTLS_NONCE_AUDIT) $(HELGRIND_FLAGS)
ALL_LDFLAGS = $(LDFLAGS) $(SANITIZERS) -Wl,-z,relro,-z,now -Wl,--as-needed
GNUTLS_CFLAGS := $(shell pkg-config --cflags gnutls 2>/dev/null)
GNUTLS_LIBS   := $(or $(shell pkg-config --libs gnutls 2>/dev/null),-lgnutls)

# What comes before the core is loaded: linked into libp2ptls.so, without GnuTLS.
BASE_SRC  := src/result.c src/log.c src/log_format.c src/role.c src/trust.c src/tlsa.c src/dns.c src/dns_servers.c src/pattern.c $(wildcard src/policy*.c)
CORE_SRC  := $(wildcard src/*.c)
HOOK_SRC  := $(wildcard preload/*.c) $(wildcard preload/*.S)

obj        = $(patsubst %,$(BUILD)/%.o,$(basename $(1)))
BASE_OBJ  := $(call obj,$(BASE_SRC))
CORE_OBJ  := $(call obj,$(CORE_SRC))
HOOK_OBJ  := $(call obj,$(HOOK_SRC))
# The sub-commands of p2ptls that need GnuTLS or the policy's parser; they read policies as the library does.
TOOL_OBJ  := $(call obj,$(wildcard tools/tool/*.c)) $(call obj,$(addprefix preload/,sources.c source_files.c program.c exec_script.c))

UNIT_BIN  := $(patsubst tests/unit/%.c,$(BUILD)/tests/unit/%,$(wildcard tests/unit/test_*.c))
PROG_BIN  := $(patsubst tests/programs/%.c,$(BUILD)/tests/programs/%,$(wildcard tests/programs/*.c)) \
             $(patsubst tests/programs/%.cc,$(BUILD)/tests/programs/%,$(wildcard tests/programs/*.cc)) \
             $(patsubst tests/programs/preloaded/%.c,$(BUILD)/tests/programs/%.so,$(wildcard tests/programs/preloaded/*.c)) \
             $(BUILD)/tests/programs/differential

.PHONY: all lib tool programs units unit check check-long bench bench-quick bench-document bench-programs deb lint format valgrind fuzz fuzz-replay install clean
all: lib tool
tool: $(BUILD)/p2ptls-tool $(BUILD)/p2ptls-status
lib: $(BUILD)/libp2ptls.so $(BUILD)/libp2ptls-core.so
programs: $(PROG_BIN)
units: $(UNIT_BIN)

$(BUILD)/libp2ptls.so: $(HOOK_OBJ) $(BASE_OBJ) preload/exports.map
	$(CC) -shared -o $@ $(HOOK_OBJ) $(BASE_OBJ) $(ALL_LDFLAGS) -Wl,--version-script=preload/exports.map -Wl,-z,nodelete -Wl,-z,defs -Wl,-Bsymbolic-functions -ldl -lpthread

$(BUILD)/libp2ptls-core.so: $(CORE_OBJ) src/core.map
	$(CC) -shared -o $@ $(CORE_OBJ) $(ALL_LDFLAGS) -Wl,--version-script=src/core.map -Wl,-z,nodelete -Wl,-z,defs $(GNUTLS_LIBS) -lpthread

$(BUILD)/tools/tool/%.o: ALL_CFLAGS += -Ipreload
$(BUILD)/p2ptls-tool: $(TOOL_OBJ) $(CORE_OBJ)
	$(CC) -o $@ $(TOOL_OBJ) $(CORE_OBJ) $(ALL_LDFLAGS) -Wl,--export-dynamic-symbol=p2ptls_own_program $(GNUTLS_LIBS) -lqrencode -lpthread

# ThreadSanitizer's runtime calls hooks before it can bear instrumented code: the thin ones go without.
UNTHREADED := $(if $(filter thread,$(SANITIZE)),$(filter-out $(addprefix preload/,table.c desc.c helper.c stream.c classify.c select.c fork.c core_load.c),$(HOOK_SRC)))

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(if $(filter $<,$(UNTHREADED)),$(filter-out -fsanitize=thread,$(ALL_CFLAGS)),$(ALL_CFLAGS)) $(GNUTLS_CFLAGS) -c -o $@ $<

$(BUILD)/%.o: %.S
	@mkdir -p $(@D)
	$(CC) $(filter-out $(HELGRIND_FLAGS),$(ALL_CFLAGS)) -c -o $@ $<

# p2ptls status, which shares nothing with the library but the layout of its table.
STATUS_OBJ := $(call obj,$(wildcard tools/status/*.c))
STATUS_PARTS := $(call obj,$(addprefix tools/status/,read.c processes.c columns.c layout.c text.c))
$(BUILD)/p2ptls-status: $(STATUS_OBJ)
	$(CC) -o $@ $(STATUS_OBJ) $(ALL_LDFLAGS) -ljansson -lncursesw -ltinfo

# Unit tests link the objects of src/ directly: they see what the export maps hide.
$(BUILD)/tests/unit/test_log_format: UNIT_OBJ = $(call obj,preload/log_setting.c)
$(BUILD)/tests/unit/test_log_format: $(call obj,preload/log_setting.c)
$(BUILD)/tests/unit/test_status $(BUILD)/tests/unit/test_status_view: UNIT_OBJ = $(STATUS_PARTS)
$(BUILD)/tests/unit/test_status $(BUILD)/tests/unit/test_status_view: $(STATUS_PARTS)
$(BUILD)/tests/unit/%: tests/unit/%.c $(CORE_OBJ) $(wildcard tests/unit/*.h)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(GNUTLS_CFLAGS) -o $@ $< $(UNIT_OBJ) $(CORE_OBJ) $(ALL_LDFLAGS) -lcmocka $(GNUTLS_LIBS) -lpthread

# Programs for the bats suites are plain, unmodified users of the sockets API.
$(BUILD)/tests/programs/%: tests/programs/%.c $(wildcard tests/programs/*.h)
	@mkdir -p $(@D)
	$(CC) -std=gnu11 -O2 -g -Wall -Wextra -D_GNU_SOURCE $(SANITIZERS) $(HELGRIND_FLAGS) -o $@ $< -lpthread

$(BUILD)/tests/programs/%: tests/programs/%.cc
	@mkdir -p $(@D)
	$(CXX) -std=gnu++17 -O2 -g -Wall -Wextra $(SANITIZERS) -o $@ $< -lpthread

$(BUILD)/tests/programs/%.so: tests/programs/preloaded/%.c
	@mkdir -p $(@D)
	$(CC) -std=gnu11 -O2 -g -Wall -Wextra -D_GNU_SOURCE -shared -fPIC -o $@ $<

$(BUILD)/tests/programs/differential: $(wildcard tests/programs/differential/*.[ch]) tests/programs/common.h
	@mkdir -p $(@D)
	$(CC) -std=gnu11 -O2 -g -Wall -Wextra -D_GNU_SOURCE $(SANITIZERS) -o $@ $(filter %.c,$^) -lpthread

unit: units
	@set -e; for t in $(UNIT_BIN); do echo "== $$t"; $$t; done

check:
	tools/check

check-long:
	tools/check --long

# Comparisons with other ways to protect a connection (docs/PERFORMANCE.md); results in $(BUILD)/bench. BENCH_OPTIONS: see
# tools/bench/bench --help.
BENCH_SRC    := $(wildcard tools/bench/*.[ch])
BENCH_BIN    := $(addprefix $(BUILD)/bench/,transfer-plain transfer-gnutls transfer-openssl aead relay spawn)
BENCH_CC      = $(CC) -std=gnu11 -O2 -g -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Werror -D_GNU_SOURCE
BENCH_SHARED := $(addprefix tools/bench/,transfer.c serve.c load.c load_many.c crowd.c transport_common.c bench.c)

$(BUILD)/bench/transfer-gnutls: BENCH_LIBS := $(GNUTLS_LIBS)
$(BUILD)/bench/transfer-openssl: BENCH_LIBS := -lssl -lcrypto
$(BUILD)/bench/transfer-%: $(BENCH_SRC)
	@mkdir -p $(@D)
	$(BENCH_CC) -o $@ $(BENCH_SHARED) tools/bench/transport_$*.c $(BENCH_LIBS) -lpthread

$(BUILD)/bench/aead: BENCH_LIBS := $(GNUTLS_LIBS)
$(BUILD)/bench/aead $(BUILD)/bench/relay $(BUILD)/bench/spawn: $(BUILD)/bench/%: $(BENCH_SRC)
	@mkdir -p $(@D)
	$(BENCH_CC) -o $@ tools/bench/$*.c tools/bench/bench.c $(BENCH_LIBS)

bench-programs: lib $(BENCH_BIN)

bench:
	tools/bench/bench $(BENCH_OPTIONS)

bench-quick:
	tools/bench/bench --quick $(BENCH_OPTIONS)

# bench five times, the medians of the marks, and the tables into docs/PERFORMANCE.md.
bench-document:
	tools/bench/bench --runs 5 --document $(BENCH_OPTIONS)

lint:
	tools/lint

format:
	clang-format -i $(wildcard src/*.[ch] preload/*.[ch] tools/*/*.[ch] tests/*/*.[ch] tests/*/*/*.[ch] tests/*/*.cc)

# Reachable memory at exit is GnuTLS's own; what was lost is ours. Tests that make hundreds of handshakes take minutes
# under valgrind and are left to the sanitizers, as are those that load PKCS#11 modules or change their root directory,
# and that of chunks: valgrind maps no memory twice (mremap with old_size 0); and that which reads stacks that are left,
# of which valgrind says that nobody has written them.
VALGRIND  := valgrind -q --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite,indirect \
             --child-silent-after-fork=yes $(addprefix --suppressions=,$(wildcard tests/valgrind.supp))
VALGRIND_UNITS ?= $(filter-out test_handshake_attack test_properties test_identity_keys test_identity_source test_chunk_views test_stack_traces,$(notdir $(UNIT_BIN)))
valgrind: $(addprefix valgrind-,$(VALGRIND_UNITS))
valgrind-%: $(BUILD)/tests/unit/%
	$(VALGRIND) $<

# Fuzz targets: everything compiled again by clang, with coverage for libFuzzer. Seeds and past findings are in
# tests/fuzz/corpus/TARGET; what a run finds stays in $(BUILD)/fuzz/corpus/TARGET, crashes in $(BUILD)/fuzz.
CLANG        ?= clang-14
FUZZ_SECONDS ?= 60
FUZZ_TARGETS ?= $(patsubst tests/fuzz/%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ_FLAGS   := -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -DP2PTLS_SANITIZED -DP2PTLS_FUZZING
FUZZ_OBJ     := $(patsubst %.c,$(BUILD)/fuzz/%.o,$(CORE_SRC))
FUZZ_BIN     := $(addprefix $(BUILD)/fuzz/,$(FUZZ_TARGETS))

$(BUILD)/fuzz/%.o: %.c
	@mkdir -p $(@D)
	$(CLANG) $(filter-out -Werror -O2,$(ALL_CFLAGS)) -O1 $(FUZZ_FLAGS) -fsanitize=fuzzer-no-link $(GNUTLS_CFLAGS) -c -o $@ $<

$(FUZZ_BIN): $(BUILD)/fuzz/%: $(BUILD)/fuzz/tests/fuzz/%.o $(FUZZ_OBJ)
	$(CLANG) $(FUZZ_FLAGS) -fsanitize=fuzzer -o $@ $^ $(GNUTLS_LIBS) -lpthread

fuzz: $(FUZZ_BIN)
	@set -e; for t in $(FUZZ_TARGETS); do echo "== $$t, $(FUZZ_SECONDS) s"; \
	  mkdir -p $(BUILD)/fuzz/corpus/$$t tests/fuzz/corpus/$$t; \
	  dict=tests/fuzz/$$t.dict; test -f $$dict && dict=-dict=$$dict || dict=; \
	  $(BUILD)/fuzz/$$t $$dict -max_total_time=$(FUZZ_SECONDS) -artifact_prefix=$(BUILD)/fuzz/ -print_final_stats=1 \
	    $(BUILD)/fuzz/corpus/$$t tests/fuzz/corpus/$$t; done

# Runs each target once on each file of its corpus; a target without a corpus is an error.
fuzz-replay: $(FUZZ_BIN)
	@set -e; for t in $(FUZZ_TARGETS); do echo "== $$t"; \
	  $(BUILD)/fuzz/$$t -runs=0 -artifact_prefix=$(BUILD)/fuzz/ tests/fuzz/corpus/$$t; \
	  test -n "$$(ls tests/fuzz/corpus/$$t)"; done

# The launcher finds the libraries by their place relative to its own, so that a moved tree works.
install: lib tool
	install -d $(DESTDIR)$(LIBDIR) $(DESTDIR)$(LIBEXECDIR) $(DESTDIR)$(BINDIR) $(DESTDIR)$(DOCDIR) $(DESTDIR)$(INCDIR) \
	  $(DESTDIR)$(MANDIR)/man1 $(DESTDIR)$(MANDIR)/man5 $(DESTDIR)$(BASHCOMPDIR) $(DESTDIR)$(ZSHCOMPDIR)
	install -m 755 $(BUILD)/libp2ptls.so $(BUILD)/libp2ptls-core.so $(DESTDIR)$(LIBDIR)
	install -m 755 $(BUILD)/p2ptls-tool $(BUILD)/p2ptls-status $(DESTDIR)$(LIBEXECDIR)
	sed -e 's|^_libdir_from_bindir=[^ ]*|_libdir_from_bindir=$(shell realpath -m --relative-to=$(BINDIR) $(LIBDIR))|' \
	  -e 's|^_libexecdir_from_bindir=[^ ]*|_libexecdir_from_bindir=$(shell realpath -m --relative-to=$(BINDIR) $(LIBEXECDIR))|' \
	  tools/p2ptls > $(DESTDIR)$(BINDIR)/p2ptls
	chmod 755 $(DESTDIR)$(BINDIR)/p2ptls
	install -m 644 preload/p2ptls.h $(DESTDIR)$(INCDIR)
	install -m 755 tools/p2ptls-check $(DESTDIR)$(BINDIR)
	install -m 644 $(wildcard tools/man/*.1) $(DESTDIR)$(MANDIR)/man1
	install -m 644 $(wildcard tools/man/*.5) $(DESTDIR)$(MANDIR)/man5
	install -m 644 tools/completion/p2ptls.bash $(DESTDIR)$(BASHCOMPDIR)/p2ptls
	install -m 644 tools/completion/_p2ptls $(DESTDIR)$(ZSHCOMPDIR)
	install -m 644 LICENSE $(wildcard *.md docs/*.md) $(DESTDIR)$(DOCDIR)

# The Debian packages, in $(BUILD)/deb.
deb:
	tools/packaging/build-deb $(BUILD)/deb

clean:
	rm -rf build build-*

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
