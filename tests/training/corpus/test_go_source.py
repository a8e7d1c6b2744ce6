"""Logging calls of Go source code."""

import pytest

from training.corpus.go_source import go_calls
from training.corpus.logging_calls import Package

APP = Package(name="app", version="1", licence="MIT", language="go")


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ('log.Printf("at %d of %v\\n", line, s.GetHost())', ("at <*> of <*>", ("line", "host"), "info")),
        (
            's.log.Warn("lost it", zap.String("peer", p), zap.Error(err), zap.Any("x", y))',
            ("lost it peer=<*> error=<*> x=<*>", ("peer", "error", "x"), "warn"),
        ),
        ('logger.Infow("got it", "key", a, "size", len(b))', ("got it key=<*> size=<*>", ("key", "size"), "info")),
        ('klog.V(2).InfoS("found", "pod", klog.KObj(pod))', ("found pod=<*>", ("pod",), "info")),
        ('klog.ErrorS(err, "failed to", "node", n)', ("failed to node=<*>", ("node",), "error")),
        (
            'log.Error().Str("k", v).Err(err).Msgf("no %s", x.Name())',
            ("no <*> k=<*> error=<*>", ("name", "k", "error"), "error"),
        ),
        (
            'logrus.WithFields(logrus.Fields{"a": a}).WithError(err).Warn("lost")',
            ("lost a=<*> error=<*>", ("a", "error"), "warn"),
        ),
        ('level.Warn(logger).Log("msg", "too slow", "err", err)', ("too slow err=<*>", ("err",), "warn")),
        ('log.Println("took", d, "for", file)', ("took <*> for <*>", ("d", "file"), "info")),
        ('slog.Info("hi there", slog.Int("n", a), "key", v)', ("hi there n=<*> key=<*>", ("n", "key"), "info")),
        ('s.Noticef("client %q left", c.ID)', ("client <*> left", ("id",), "info")),
        ('l.Warn("no task", tag.WorkflowID(id), fields...)', ("no task workflowID=<*>", ("workflowID",), "warn")),
        ('log.Info("got it", logfields.Key, k, "n", len(s.rows))', ("got it key=<*> n=<*>", ("key", "n"), "info")),
        ('log.Warnf("only %d of %v", len(s.rows), all)', ("only <*> of <*>", ("count", "all"), "warn")),
        ('panic(fmt.Sprintf("bad %v", d))', ("bad <*>", ("d",), "raise")),
        ('_ = fmt.Errorf("open " + `"it" %s: %w`, path, err)', ('open "it" <*>: <*>', ("path", "err"), "raise")),
        ('log.Infof("took %v", time.Since(start))', ("took <*>", ("elapsed",), "info")),
        ('log.Info("no ", strings.Join(names, ","), " left")', ("no <*> left", ("names",), "info")),
    ],
)
def test_calls_are_read(statement: str, expected: tuple[str, tuple[str, ...], str]) -> None:
    """Formats, fields, keys and values in turn, and chains give the template and its names."""
    source = f"package a\nfunc f() {{ {statement} }}"
    assert [expected] == [(call.text, call.names, call.level) for call in go_calls(source, APP)]


@pytest.mark.parametrize(
    "statement", ['t.Errorf("not %d", n)', 'fmt.Println("a text")', "log.Info(text)", 'blog.Info("a post")']
)
def test_what_is_no_logging_call_is_left(statement: str) -> None:
    """Tests, other calls and messages without literal text give nothing."""
    assert list(go_calls(f"package a\nfunc f() {{ {statement} }}", APP)) == []


def test_declarations_tell_types() -> None:
    """Parameters, variables, the receiver's fields and the makers of fields tell types."""
    source = """package a
        type S struct { host string; peers map[string]*Peer }
        func (s *S) f(a, b int, d time.Duration, rest ...string) {
            var p *Peer
            log.Infof("is %v %v %v %v %v %v", s.host, s.peers, b, d, rest, p)
            log.Info("sent it", zap.Duration("took", t()), zap.Int("n", x)) }"""
    found = [call.types for call in go_calls(source, APP)]
    assert [("str", "map", "int", "Duration", "list", "Peer"), ("Duration", "int")] == found
