# `make help` lists the targets.  Everything that is made is under build/.

MODULE       = ngx_http_predictive_module.so
TOOL         = predictive-replay
# calls of the module's own files, for tests; never installed
TEST_MODULE  = ngx_http_prdtest_module.so

BUILD        = build
CC           = cc
CLANG        = clang
PREFIX       = /usr/local
DESTDIR      =
FUZZ_SECONDS = 60

# a tree of nginx: nginx-dev's headers or sources; NGINX_FLAGS are for its
# configure, by default what nginx-dev was built with
NGINX_SRC    = /usr/share/nginx/src
NGINX_FLAGS  =

# address,undefined or thread: a build of its own under build/asan, build/tsan
SANITIZE     =


# how things are made

JOBS        := $(shell nproc 2>/dev/null || echo 2)

ifeq ($(MAKELEVEL)$(filter -j%,$(MAKEFLAGS)),0)
MAKEFLAGS   += -j$(JOBS)
endif

MAKEFLAGS   += --no-print-directory -r

ifeq ($(V),)
Q            = @
say          = @echo "  $(1)"
QUIETLY      = $(CURDIR)/tools/cc
endif

ifneq ($(words $(CURDIR)),1)
$(error nginx cannot be built in a directory whose name has blanks)
endif

WARN         = -Wall -Wextra -Werror
MAP          = -ffile-prefix-map=$(CURDIR)/=

ifeq ($(SANITIZE),)
OUT          = $(BUILD)
OPT          = -O2 -g -fstack-protector-strong -D_FORTIFY_SOURCE=2
# the engine's short functions are inlined into the module's handler: a third
# off a decision
LTO          = -flto=auto
NGX_OPT      = $(OPT) $(LTO)
else
OUT          = $(BUILD)/$(if $(findstring address,$(SANITIZE)),asan,$\
                           $(if $(findstring thread,$(SANITIZE)),tsan,ubsan))
OPT          = -O1 -g -fno-omit-frame-pointer
# each palloc() is a malloc(): an overflow inside a memory pool is seen too
NGX_OPT      = $(OPT) -DNGX_DEBUG_PALLOC=1
# gcc: TSan does not know fences; where they are, what they order is atomic
SAN          = -fsanitize=$(SANITIZE) -fno-sanitize-recover=all \
               $(if $(findstring thread,$(SANITIZE)),-Wno-tsan)
# nginx hands memcpy() a NULL with length 0, stores 32 bits anywhere and moves
# pointers that it did not set; in our files all three are errors
SAN_NGINX    = $(SAN) \
               $(if $(findstring undefined,$(SANITIZE)), \
                    -fno-sanitize=nonnull-attribute -fno-sanitize=alignment \
                    -fno-sanitize=pointer-overflow)
endif

CFLAGS       = -std=gnu11 $(WARN) $(OPT) $(MAP)
LDFLAGS      = -Wl,-z,relro -Wl,-z,now

ENGINE      := $(wildcard src/*.c)
REPLAY      := $(wildcard src/replay/*.c)
UNIT        := $(wildcard t/unit/*_test.c)
FUZZ        := $(wildcard t/fuzz/*_fuzz.c)
HEADERS     := $(wildcard src/*.h src/replay/*.h)

OBJ          = $(OUT)/obj

default: all


# the module, by nginx's own build

NGX_DEFAULT  = --with-compat --with-debug --with-pcre-jit --with-threads \
               --with-http_ssl_module --with-http_v2_module \
               --with-http_realip_module --with-http_auth_request_module \
               --with-http_addition_module \
               --with-http_slice_module --with-http_sub_module \
               --with-http_stub_status_module

NGX_FLAGS   := $(or $(NGINX_FLAGS), \
                    $(shell test -f $(NGINX_SRC)/conf_flags \
                            && bash -c '. $(NGINX_SRC)/conf_flags \
                                        && echo "$${NGX_CONF_FLAGS[@]}"'), \
                    $(NGX_DEFAULT))

# another nginx, compiler or set of flags is another directory
NGX_ID      := $(shell echo "$(NGINX_SRC) $(NGX_FLAGS) $(CC)" \
                   "$(CFLAGS) $(NGX_OPT) $(SAN_NGINX)" \
                   "`stat -Lc %Y $(NGINX_SRC) $(NGINX_SRC)/src/core/nginx.h \
                     2>/dev/null`" "`$(CC) -dumpfullversion 2>/dev/null`" \
                   | cksum | cut -d ' ' -f 1)

NGX          = $(OUT)/nginx-$(NGX_ID)
NGX_MAKE     = $(MAKE) -s -C $(NGX) -f objs/Makefile

$(NGX)/objs/Makefile: config t/module/config tools/configure-nginx
	@test -d "$(NGINX_SRC)/src/core" || { echo >&2 "$(NGINX_SRC) is no tree\
	 of nginx: run tools/setup build (it installs nginx-dev), or say\
	 NGINX_SRC=DIR"; exit 1; }
	$(call say,CONF  $(NGINX_SRC))
	$(Q)tools/configure-nginx $(abspath $(NGINX_SRC)) $(NGX) $(NGX_FLAGS) \
	    --with-cc='$(CC)' --with-ld-opt='$(LDFLAGS) $(if $(LTO),-O2 $(LTO))' \
	    --with-cc-opt='-std=gnu11 $(NGX_OPT) $(MAP)' \
	    --add-dynamic-module=$(CURDIR) \
	    --add-dynamic-module=$(CURDIR)/t/module

# not by hand: `module` asks nginx's Makefile, which knows what is out of date

.PHONY: module
module: $(NGX)/objs/Makefile
	+$(Q)$(NGX_MAKE) CC='$(QUIETLY) $(CC) $(SAN)' modules
	$(Q)if nm -D --undefined-only $(NGX)/objs/$(MODULE) \
	    | grep -E ' (prd_|ngx_http_predictive_)'; then \
	    echo "no source in config defines these" >&2; exit 1; fi
	$(Q)for so in $(MODULE) $(TEST_MODULE); do \
	    cmp -s $(NGX)/objs/$$so $(OUT)/$$so && continue; \
	    cp $(NGX)/objs/$$so $(OUT)/$$so.new \
	    && mv $(OUT)/$$so.new $(OUT)/$$so || exit 1; done

# nginx itself, where NGINX_SRC has its sources and not just its headers
.PHONY: nginx
nginx: $(NGX)/objs/Makefile
	+$(Q)$(NGX_MAKE) CC='$(QUIETLY) $(CC) $(SAN_NGINX)' binary
	$(Q)ln -sf nginx-$(NGX_ID)/objs/nginx $(OUT)/nginx


# engine and tool

ENGINE_O     = $(ENGINE:src/%.c=$(OBJ)/%.o)
REPLAY_O     = $(REPLAY:src/%.c=$(OBJ)/%.o)
LIBS         = -lpcre2-8 -lz -lm -lpthread

$(OBJ)/%.o: src/%.c
	@mkdir -p $(@D)
	$(call say,CC    $<)
	$(Q)$(CC) $(CFLAGS) $(SAN) -Isrc -MMD -MP -c -o $@ $<

$(OUT)/libprd.a: $(ENGINE_O)
	$(call say,AR    $@)
	$(Q)rm -f $@ && ar rcs $@ $^

$(OUT)/libreplay.a: $(REPLAY_O)
	$(call say,AR    $@)
	$(Q)rm -f $@ && ar rcs $@ $^

$(OUT)/$(TOOL): $(REPLAY_O) $(OUT)/libprd.a
	$(call say,LINK  $@)
	$(Q)$(CC) $(SAN) $(LDFLAGS) -o $@ $^ $(LIBS)

.PHONY: default all tool
tool: $(if $(REPLAY),$(OUT)/$(TOOL))
all: module tool


# C tests; each links what it needs of the engine and the tool

UNIT_ALL     = $(UNIT:t/unit/%.c=$(OUT)/unit/%)
UNIT_ONLY    = $(UNIT_ALL)

$(OUT)/unit/%: t/unit/%.c $(OUT)/libprd.a $(if $(REPLAY),$(OUT)/libreplay.a)
	@mkdir -p $(@D)
	$(call say,CC    $<)
	$(Q)$(CC) $(CFLAGS) $(SAN) -Isrc -It/unit -MMD -MP -MF $@.d -o $@ $< \
	    $(wordlist 2,9,$(filter %.a,$^)) $(filter %.a,$^) $(LIBS)

.PHONY: unit unit-run
unit: $(UNIT_ALL)
	+$(Q)$(MAKE) unit-run

unit-run: $(UNIT_ONLY)
	$(Q)prove --timer -j$(JOBS) --exec 'timeout 300' $(UNIT_ONLY)


# Perl tests

PROVE        = PRD_NGINX=$(PRD_NGINX) \
               PRD_MODULE=$(or $(PRD_MODULE),$(abspath $(OUT)/$(MODULE))) \
               PRD_REPLAY=$(or $(PRD_REPLAY),$(abspath $(OUT)/$(TOOL))) \
               tools/prove --timer -It/lib

.PHONY: check prove
check: all
	+$(Q)$(MAKE) prove

# those in t/serial measure time; see tools/prove for a machine that does not
prove:
	$(Q)$(PROVE) -j2 t/*.t
	$(Q)if ls t/serial/*.t >/dev/null 2>&1; then \
	    $(PROVE) -j1 t/serial/*.t; fi

.PHONY: test listed
test:
	@tools/setup build test
	+@$(MAKE) listed
	+@$(MAKE) all
	+@$(MAKE) unit
	+@$(MAKE) check

listed: $(NGX)/objs/Makefile
	@for f in src/*.c ngx_predictive_module/*.c; do \
	    grep -q "/$$f$$" $(NGX)/objs/Makefile && continue; \
	    echo "config does not list $$f" >&2; bad=1; done; test -z "$$bad"


# under sanitizers

ASAN         = SANITIZE=address,undefined NGINX_SRC=$(BUILD)/src/nginx \
               PRD_NGINX=$(abspath $(BUILD)/asan/nginx)

# each module of nginx has an ngx_modules, which is no ODR violation
SAN_ENV      = PRD_SANITIZE=1 \
               ASAN_OPTIONS=halt_on_error=1:abort_on_error=0:exitcode=99:$\
               detect_stack_use_after_return=1:strict_string_checks=1:$\
               detect_leaks=1:detect_odr_violation=0 \
               LSAN_OPTIONS=suppressions=$(CURDIR)/t/lsan.supp:$\
                            print_suppressions=0 \
               UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1:exitcode=99 \
               TSAN_OPTIONS=halt_on_error=1:exitcode=99

.PHONY: asan tsan fuzz
asan:
	@tools/setup build test asan
	@tools/nginx-source $(BUILD)/src
	+@$(MAKE) $(ASAN) nginx
	+@$(MAKE) $(ASAN) all
	+@$(SAN_ENV) $(MAKE) $(ASAN) unit
	+@$(SAN_ENV) $(MAKE) $(ASAN) prove

TSAN         = $(patsubst t/unit/%.c,$(BUILD)/tsan/unit/%, \
                          $(wildcard t/unit/tsan_*_test.c))

tsan:
	@tools/setup build test
	$(if $(TSAN),,$(error no t/unit/tsan_*_test.c))
	+@$(SAN_ENV) $(MAKE) SANITIZE=thread UNIT_ONLY='$(TSAN)' unit-run

# clang's warnings are those of nginx's configure, too

FUZZ_CFLAGS  = -std=gnu11 $(WARN) -Wconditional-uninitialized -O1 -g $\
               -Isrc -fsanitize=address,undefined -fno-sanitize-recover=all

$(BUILD)/fuzz/obj/%.o: src/%.c
	@mkdir -p $(@D)
	$(call say,CLANG $<)
	$(Q)$(CLANG) $(FUZZ_CFLAGS) -fsanitize=fuzzer-no-link \
	    -MMD -MP -c -o $@ $<

$(BUILD)/fuzz/libprd.a: $(ENGINE:src/%.c=$(BUILD)/fuzz/obj/%.o)
	$(Q)rm -f $@ && ar rcs $@ $^

$(BUILD)/fuzz/libreplay.a: $(REPLAY:src/%.c=$(BUILD)/fuzz/obj/%.o)
	$(Q)rm -f $@ && ar rcs $@ $^

$(BUILD)/fuzz/%: t/fuzz/%.c $(BUILD)/fuzz/libprd.a \
                 $(if $(REPLAY),$(BUILD)/fuzz/libreplay.a)
	@mkdir -p $(@D)
	$(call say,CLANG $<)
	$(Q)$(CLANG) $(FUZZ_CFLAGS) -fsanitize=fuzzer -MMD -MP -MF $@.d \
	    -o $@ $< $(wordlist 2,9,$(filter %.a,$^)) $(filter %.a,$^) $(LIBS)

.PHONY: fuzz-build
fuzz-build: $(FUZZ:t/fuzz/%.c=$(BUILD)/fuzz/%)

# seeds are in t/fuzz/corpus/NAME; what is found stays in build/fuzz
fuzz:
	@tools/setup build fuzz
	$(if $(FUZZ),,$(error no t/fuzz/*_fuzz.c))
	+@$(MAKE) fuzz-build
	$(Q)set -e; for f in $(FUZZ:t/fuzz/%.c=%); do \
	    echo "  FUZZ  $$f, $(FUZZ_SECONDS) s"; \
	    mkdir -p $(BUILD)/fuzz/$$f.found; \
	    seeds=t/fuzz/corpus/$${f%_fuzz}; test -d $$seeds || seeds=; \
	    $(BUILD)/fuzz/$$f -max_total_time=$(FUZZ_SECONDS) -timeout=10 \
	        -print_final_stats=1 -artifact_prefix=$(BUILD)/fuzz/$$f- \
	        $(BUILD)/fuzz/$$f.found $$seeds > $(BUILD)/fuzz/$$f.log 2>&1 \
	        || { tail -n 60 $(BUILD)/fuzz/$$f.log; exit 1; }; \
	    grep stat::number_of_executed_units $(BUILD)/fuzz/$$f.log; done


# the rest

.PHONY: run stop bench
run:
	@tools/setup build run
	+@$(MAKE) all
	@STORE='$(STORE)' demo/run

stop:
	@demo/stop

BENCH       := $(wildcard bench/*.c)

$(OUT)/bench/%: bench/%.c $(OUT)/libprd.a
	@mkdir -p $(@D)
	$(call say,CC    $<)
	$(Q)$(CC) $(CFLAGS) $(SAN) -Isrc -MMD -MP -MF $@.d -o $@ $< \
	    $(OUT)/libprd.a $(LIBS)

.PHONY: bench-build
bench-build: $(BENCH:bench/%.c=$(OUT)/bench/%)

bench:
	@tools/setup build bench
	+@$(if $(findstring n,$(firstword -$(MAKEFLAGS))),echo) \
	    BUILD=$(BUILD) bench/run.sh

# The .so is renamed into place: nginx maps the old one until it is started
# anew (or upgraded by USR2); a reload does not load another .so.

MODULES_DIR  = $(or $(shell nginx -V 2>&1 | tr ' ' '\n' \
                            | sed -n 's/^--modules-path=//p'), \
                    /usr/lib/nginx/modules)
CONF_DIR     = /usr/share/nginx/modules-available
CONF         = mod-http-predictive.conf

.PHONY: install
install: all
	$(Q)install -d $(DESTDIR)$(MODULES_DIR) $(DESTDIR)$(PREFIX)/bin \
	    $(DESTDIR)$(CONF_DIR)
	$(Q)install -m 644 $(BUILD)/$(MODULE) $(DESTDIR)$(MODULES_DIR)/.$(MODULE)
	$(Q)mv $(DESTDIR)$(MODULES_DIR)/.$(MODULE) \
	    $(DESTDIR)$(MODULES_DIR)/$(MODULE)
	$(call say,INST  $(DESTDIR)$(MODULES_DIR)/$(MODULE))
	$(Q)if test -f $(BUILD)/$(TOOL); then \
	    install -m 755 $(BUILD)/$(TOOL) $(DESTDIR)$(PREFIX)/bin/.$(TOOL) \
	    && mv $(DESTDIR)$(PREFIX)/bin/.$(TOOL) \
	        $(DESTDIR)$(PREFIX)/bin/$(TOOL); fi
	$(call say,INST  $(DESTDIR)$(PREFIX)/bin/$(TOOL))
	$(Q)echo 'load_module modules/$(MODULE);' > $(DESTDIR)$(CONF_DIR)/$(CONF)
	$(call say,INST  $(DESTDIR)$(CONF_DIR)/$(CONF))
	@echo "Load it with  load_module modules/$(MODULE);  on the top level" \
	    "of nginx.conf, or link $(CONF_DIR)/$(CONF) into" \
	    "/etc/nginx/modules-enabled/"

.PHONY: clean help
clean:
	$(Q)rm -rf $(BUILD)

help:
	@echo "make          the module and the tool, in $(BUILD)/"
	@echo "make run      a demonstration: installs what it needs, starts it;" \
	    "make stop"
	@echo "              STORE=redis: two gateways that share limits," \
	    "and a Redis"
	@echo "make test     installs what it needs, builds and tests everything"
	@echo "make unit     the C tests;  make check: the tests of the module"
	@echo "make install  DESTDIR=, PREFIX=$(PREFIX)"
	@echo "make bench    measures speed"
	@echo "make asan     builds nginx and all of ours with ASan and UBSan," \
	    "and tests"
	@echo "make tsan     the tests of what threads share, under TSan"
	@echo "make fuzz     each parser for FUZZ_SECONDS=$(FUZZ_SECONDS)"
	@echo "make clean    removes $(BUILD)/"
	@echo
	@echo "NGINX_SRC=DIR builds against another tree of nginx, V=1 shows" \
	    "the commands."


-include $(ENGINE_O:.o=.d) $(REPLAY_O:.o=.d) $(UNIT_ALL:=.d)
-include $(BENCH:bench/%.c=$(OUT)/bench/%.d)
-include $(wildcard $(BUILD)/fuzz/*.d $(BUILD)/fuzz/obj/*.d)
