"""From source code to labelled messages: logging calls, made-up values, examples."""
