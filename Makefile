# Two commands, each from a bare checkout: they set up what they need first (scripts/setup says what that is).
.PHONY: demo test check

demo:
	@scripts/setup demo
	@scripts/demo

test:
	@scripts/setup test
	@scripts/check
	@.venv/bin/python -m pytest -q -n auto --dist loadfile --no-loadscope-reorder

check:
	@scripts/setup test
	@scripts/check
