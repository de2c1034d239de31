"""The command line: generate, show, verify, exact, prove, mutate, warm. Parses, calls, prints, returns a code."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

from derive.errors import DeriveError

ROOT = Path(__file__).resolve().parent.parent


def _progress(items: Iterable[Any], what: str, unit: str = "op") -> Iterable[Any]:
    from tqdm import tqdm

    items = list(items)
    bar = tqdm(
        items,
        desc=what,
        unit=unit,
        disable=None if sys.stderr.isatty() else False,
        mininterval=0.5,
        leave=True,
    )
    for item in bar:
        bar.set_postfix_str(getattr(item, "name", ""))
        yield item


def _in_processes(
    calls: Mapping[str, tuple[Any, ...]], what: str, unit: str = "op", jobs: int | None = None
) -> dict[str, Any]:
    """What each call, a function and its arguments, comes to, by its label and in order; in other processes, with progress."""
    from concurrent.futures import ProcessPoolExecutor, as_completed
    from multiprocessing import get_context

    from tqdm import tqdm

    found = {}
    bar = tqdm(total=len(calls), desc=what, unit=unit, mininterval=0.5)
    with bar, ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        running = {pool.submit(*call): label for label, call in calls.items()}
        for done in as_completed(running):
            found[running[done]] = done.result()
            bar.set_postfix_str(running[done])
            bar.update()
    return {label: found[label] for label in calls}


def _show(args: argparse.Namespace) -> int:
    from derive.catalogue import operators
    from derive.emit.latex import program_latex
    from derive.pipeline import PROGRAMS, derive
    from derive.spec import load_operators

    known = load_operators(args.spec) if args.spec else {o.name: o for o in operators()}
    if args.show not in known:
        print(f"no operator is called {args.show}; there are {', '.join(known)}", file=sys.stderr)
        return 2
    made = derive(known[args.show])
    print(made.operator)
    for name in PROGRAMS:
        print(f"\n== {name}: as derived\n{made.raw[name]}\n\n== {name}: simplified\n{made.programs[name]}")
        if args.latex:
            print(f"\n{program_latex(made.programs[name])}")
        print(f"\n== {name}: kernels")
        for phase in made.phases[name]:
            note = f"   (recognised: the kernel of {phase.recognised})" if phase.recognised else ""
            print(
                f"  {phase.equation.target} <- {phase.kernel}{phase.tensors}{note}\n"
                f"      {made.kernels[phase.kernel].describe()}"
            )
        for joint in made.joints[name]:
            targets = ", ".join(str(made.phases[name][k].equation.target) for k in joint.of)
            print(
                f"  {targets} <- {joint.phase.kernel}{joint.phase.tensors}   (where both are asked for)\n"
                f"      {made.kernels[joint.phase.kernel].describe()}"
            )
    print("\n== source")
    for kernel in made.kernels.values():
        print("\n" + kernel.text)
    return 0


def _generate(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from derive.catalogue import operators
    from derive.generate import catalogue_files, leftover, package_files, stale, write

    if args.show:
        return _show(args)
    if args.latex:
        print("--latex goes with --show", file=sys.stderr)
        return 2
    if args.spec:
        spec = Path(args.spec)
        out = Path(args.out) if args.out else spec.parent / spec.stem
        files = package_files(spec, out, lambda ops: _progress(ops, "derive"))
    else:
        if args.out:
            print("--out goes with a specification file", file=sys.stderr)
            return 2
        if not (ROOT / "tests").is_dir():
            print(
                "the shipped catalogue is generated in a checkout of the project; give a specification file",
                file=sys.stderr,
            )
            return 2
        with tqdm(total=len(operators()), desc="derive", unit="op", mininterval=0.5) as bar:
            files = catalogue_files(ROOT, jobs=None, advance=bar.update)
    extra = leftover(files)
    if args.check:
        old = stale(files)
        for path in old:
            print(f"stale: {_relative(path)}")
        for path in extra:
            print(f"left over: {_relative(path)}")
        print(f"{len(files)} files, {len(old)} stale, {len(extra)} left over")
        return 1 if old or extra else 0
    changed = write(files)
    for path in extra:
        path.unlink()
    for path in changed:
        print(f"wrote {_relative(path)}")
    for path in extra:
        print(f"removed {_relative(path)}, which no operator makes any more")
    print(f"{len(files)} files, {len(changed)} changed")
    return 0


def _relative(path: Path) -> Path:
    try:
        return path.resolve().relative_to(Path.cwd())
    except ValueError:
        return path


def _pairs(spec: str | None, only: Sequence[str]) -> list[tuple[Any, Any]]:
    """(operator, definition) of the catalogue, or of a generated package's folder."""
    from importlib import import_module

    from derive.catalogue import operators
    from derive.errors import GenerateError
    from derive.spec import load_definition, load_operators

    folder = Path(spec) if spec else None
    if folder is not None and folder.is_file():
        raise GenerateError(
            f"{folder} is a file, and a generated package is a folder; "
            f"write one first: derive-kernels generate {folder} --out FOLDER"
        )
    if folder is not None and not (folder / "spec.py").is_file():
        raise GenerateError(f"{folder} is no generated package: it has no spec.py")
    known = load_operators(folder / "spec.py") if folder is not None else {o.name: o for o in operators()}
    missing = sorted(set(only) - known.keys())
    if missing:
        raise GenerateError(f"no operator is called {missing[0]}; there are {', '.join(known)}")

    def definition(name: str) -> Any:
        if folder is not None:
            return load_definition(folder / f"{name}.py")
        return import_module(f"kernels.generated.{name}").DEFINITION

    return [(o, definition(name)) for name, o in known.items() if not only or name in only]


def _verify(args: argparse.Namespace) -> int:
    from derive.catalogue import CORE
    from derive.errors import GenerateError

    try:
        from derive.verify import CHECKS, QUICK, concluded
    except ModuleNotFoundError as error:
        if error.name not in ("hypothesis", "pytest"):
            raise
        needs = f'needs {error.name}: pip install "derive-kernels[test]"'
        print(f"derive-kernels verify {needs}", file=sys.stderr)
        return 2
    for report in filter(None, (args.junit, args.markdown)):  # before minutes of checks, not after
        if Path(report).is_dir() or not Path(report).absolute().parent.is_dir():
            raise GenerateError(f"cannot write {report}: it needs to be a file in a folder that exists")
    if args.pictures:
        Path(args.pictures).mkdir(parents=True, exist_ok=True)
    cases = args.cases if args.cases is not None else (2 if args.quick else 6)
    names = [operator.name for operator, _ in _pairs(args.package, args.only)]
    whole = frozenset(CORE) if args.quick and not args.package and not args.only else frozenset(names)
    pictures = Path(args.pictures) if args.pictures else None
    calls = {
        f"{n} {c}": (_checked, args.package, n, c, cases, args.seed, pictures)
        for n in names
        for c in CHECKS
        if n in whole or c in QUICK
    }
    found = _in_processes(calls, "verify", "check", args.jobs)
    if len(whole) < len(names):
        print(
            f"every check of {len(whole)} core operators, those that compile nothing of the others; without --quick "
            "every check of all"
        )
    return 0 if concluded([*found.values()], junit=args.junit, markdown=args.markdown) else 1


def _checked(
    package: str | None, operator: str, check: str, cases: int, seed: int, pictures: Path | None
) -> Any:
    """The result of one check of one operator. (Runs in a worker.)"""
    from derive.verify import verify

    return verify(*_pair(package, operator), check, cases, seed, pictures)


@cache
def _pair(package: str | None, operator: str) -> tuple[Any, Any]:
    (pair,) = _pairs(package, [operator])
    return pair


def _ready(package: str | None, operator: str, task: str, dtype: str) -> bool:
    """Compile one task in this process, or load it; whether it was compiled. (Runs in a worker.)"""
    import numpy as np

    from kernels.runtime import compiled_signatures

    _, definition = _pair(package, operator)
    kernels = (p.kernel for program in definition.programs.values() for p in program.every)
    found = next(t for kernel in kernels for t in kernel.tasks if t.name == task)
    found.address(np.dtype(dtype))
    return not compiled_signatures()[-1][2]


def _driver_ready(parallel: bool) -> bool:
    """The same for what calls the tasks."""
    from kernels.runtime.driver import make_ready

    return make_ready(parallel)


def _warm(args: argparse.Namespace) -> int:
    """Compile forward and VJP kernels of both dtypes, so that nobody waits on first use."""
    from derive.catalogue import WARM

    calls: dict[str, tuple[Any, ...]] = {}
    for parallel in (True, False):
        calls[f"driver {parallel}"] = _driver_ready, parallel
    only = args.only or (() if args.package or args.all else WARM)
    for operator, definition in _pairs(args.package, only):
        for program in ("forward", "vjp"):
            for phase in definition.programs[program].every:
                for task, dtype in product(phase.kernel.tasks, ("float32", "float64")):
                    label = f"{operator.name} {task.name} {dtype}"
                    calls[label] = _ready, args.package, operator.name, task.name, dtype
    fresh = sum(_in_processes(calls, "compile", "kernel", args.jobs).values())
    print(f"{len(calls)} kernels ready, {fresh} compiled now, {len(calls) - fresh} from the cache")
    return 0


def _judged(package: str | None, operator: str, shipped: bool, sample: int | None, seed: int) -> Any:
    """The verdict on one operator. (Runs in a worker.)"""
    from derive.catalogue import CORE
    from derive.verify.mutation import judge, judge_as_shipped

    if shipped:
        return judge_as_shipped(
            *_pair(package, operator), core=package is not None or operator in CORE, sample=sample, seed=seed
        )
    return judge(*_pair(package, operator), sample=sample, seed=seed)


def _judged_pass(name: str, sample: int | None, seed: int) -> Any:
    """The verdict on one module of the engine. (Runs in a worker.)"""
    from derive.verify.engine import judge_pass

    return judge_pass(name, sample=sample, seed=seed)


def _mutate_passes(args: argparse.Namespace) -> int:
    """Faults one at a time in the engine, and whether the checks of what it then emits see them."""
    from derive.errors import GenerateError
    from derive.verify.engine import PASSES, score, table

    if unknown := [name for name in args.only if name not in PASSES]:
        raise GenerateError(f"no module of the engine is called {unknown[0]}; there are {', '.join(PASSES)}")
    names = [name for name in PASSES if not args.only or name in args.only]
    calls = {name: (_judged_pass, name, args.sample, args.seed) for name in names}
    kept = [*_in_processes(calls, "mutate", "module", args.jobs).values()]
    for verdict in kept:
        for kind, text in verdict.shown:
            if kind == "survived" or args.same:
                print(f"{verdict.module}, {text}\n")
    print(table(kept))
    reached = 100 * score(kept)
    print(f"{reached:.2f} % of the faults that change what an emitted module does were caught")
    return 1 if args.least is not None and reached < args.least else 0


def _mutate(args: argparse.Namespace) -> int:
    """Faults one at a time, in every operator, and whether the runs of the generated tests see them."""
    if args.passes:
        return _mutate_passes(args)
    from derive.verify.mutation import score, table

    calls = {
        operator.name: (_judged, args.package, operator.name, args.as_shipped, args.sample, args.seed)
        for operator, _ in _pairs(args.package, args.only)
    }
    kept = [*_in_processes(calls, "mutate", jobs=args.jobs).values()]
    for verdict in kept:
        for role, kind, text in verdict.shown:
            if kind == "survived" or args.same:
                print(f"{verdict.operator}, {role}, {kind}: {text}\n")
    print(table(kept))
    reached = 100 * score(kept)
    print(f"{reached:.2f} % of the faults that are no other words for the same kernel were seen")
    return 1 if args.least is not None and reached < args.least else 0


def _fuzz(args: argparse.Namespace) -> int:
    """Calls that nobody should make, in a process of their own."""
    from tqdm import tqdm

    from derive.verify.fuzz import Settings, fuzz, tell

    _pairs(args.package, args.only)  # that there are such operators
    settings = Settings(args.package, tuple(args.only), args.seed, torch=args.torch)
    if args.case is not None:
        verdict = tell(settings, args.case)
        print(verdict)
        return 1 if verdict == "unsound" else 0
    with tqdm(total=args.cases, desc="fuzz", unit="case", mininterval=0.5) as bar:
        found = fuzz(settings, args.cases, most=args.most, tick=bar.update, say=bar.write)
    print(found)
    if found.findings:
        print(f"a case again, step by step: the same command with --case NUMBER (seed {args.seed})")
    return 1 if found.findings else 0


def _prove(args: argparse.Namespace) -> int:
    """Proofs for all sizes, from the text of generated modules."""
    from importlib.util import find_spec

    if find_spec("z3") is None:
        print('derive-kernels prove needs z3: pip install "derive-kernels[proofs]"', file=sys.stderr)
        return 2
    from derive.verify.proofs import prove_lemmas, prove_modules, summary, table, uncovered

    folder = Path(args.package) if args.package else ROOT / "kernels" / "generated"
    pairs = [
        (operator, (folder / f"{operator.name}.py").read_text(encoding="utf-8"))
        for operator, _ in _pairs(args.package, args.only)
    ]
    lemmas = prove_lemmas()
    for name, verdict in lemmas:
        print(f"lemma, {name}: {'proved' if verdict.proved else 'NOT PROVED'}")
    rows = []
    for operator, text in pairs:
        (made,) = prove_modules([(operator, text)], values=(1, 2, 3) if args.quick else None)
        rows += made
        print(
            f"\n{table(made)}"
            if any(not r.uncovered for r in made)
            else f"\n{operator.name}: nothing is covered"
        )
        for kinds in ({f.kind: f for f in reversed(r.failures)} for r in made):
            for failure in kinds.values():  # one of each kind shows it
                print(f"\n{operator.name}: {failure}")
        sys.stdout.flush()
    print(f"\n{uncovered(rows)}\n{summary(rows)}" if args.uncovered else f"\n{summary(rows)}")
    return 1 if any(r.failures for r in rows) or not all(v.proved for _, v in lemmas) else 0


def _boxed(package: str | None, operator: str, seconds: float | None, coverage: bool) -> tuple[Any, str]:
    """What the box of one operator came to, and the text of what refutes it. (Runs in a worker.)"""
    from derive.errors import SpecError, VerificationError
    from derive.verify.exhaustive import Tally, run_box

    spec, definition = _pair(package, operator)
    try:
        if not coverage:
            return run_box(spec, definition, seconds=seconds), ""
        from derive.spec import load_definition
        from derive.verify.reached import Reached

        folder = Path(package) if package else ROOT / "kernels" / "generated"
        reached = Reached(folder / f"{operator}.py")
        with reached.running():
            tally = run_box(spec, load_definition(reached.path), seconds=seconds)
        tally.missing = reached.missing()
        return tally, ""
    except (VerificationError, SpecError) as error:
        return Tally(operator, 0, False), str(error)


def _exact(args: argparse.Namespace) -> int:
    """Every kernel over polynomials, residues or many digits, at each configuration of its operator's box."""
    from derive.verify.exhaustive import summary, table

    seconds = 2.0 if args.quick else args.seconds or None
    calls = {
        operator.name: (_boxed, args.package, operator.name, seconds, args.coverage)
        for operator, _ in _pairs(args.package, args.only)
    }
    found = _in_processes(calls, "exact", jobs=args.jobs).values()
    refuted = [text for _, text in found if text]
    tallies = [tally for tally, text in found if not text]
    print(table(tallies))
    for tally in tallies if args.coverage else ():
        print(f"\n{tally.operator}: {len(tally.missing)} lines and branches that no run reached")
        for text in tally.missing:
            print(f"    {text}")
    for text in refuted:
        print(f"\n{text}")
    print(f"\n{summary(tallies)}")
    return 1 if refuted else 0


def _geometry(args: argparse.Namespace) -> int:
    """The receptive fields, sizes and costs of a network, as a table and a picture."""
    from derive.errors import GeometryError
    from derive.geometry import geometry, table
    from derive.geometry.load import load_network

    made = load_network(args.network)
    shapes = tuple(args.input) if args.input else made.shapes
    missing = [n for n, shape in zip(made.network.inputs, shapes, strict=False) if shape is None]
    if missing:
        raise GeometryError(
            f"the shape of `{missing[0]}` is not in {args.network}; give it with --input 1,3,224,224"
        )
    found = geometry(made.network, *(shape for shape in shapes if shape is not None))
    print(table(found), end="")
    if args.png is not None:
        from derive.geometry.picture import draw

        draw(found, args.png)
        print(f"\n{args.png}")
    return 0


def _shape(text: str) -> tuple[int, ...]:
    """1,3,224,224"""
    try:
        shape = tuple(int(word) for word in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} needs whole numbers between commas: 1,3,224,224") from None
    if min(shape) < 1:
        raise argparse.ArgumentTypeError(f"{text} has an entry below 1")
    return shape


def _count(text: str) -> int:
    """A number of things, for argparse: none would be a check that nothing fails."""
    count = int(text)
    if count < 1:
        raise argparse.ArgumentTypeError(f"{count} needs to be at least 1")
    return count


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="derive-kernels", description="Gradients, kernels and their tests from equations."
    )
    commands = top.add_subparsers(dest="command", required=True)
    g = commands.add_parser(
        "generate", help="kernels and tests from a specification file; without one, the shipped catalogue"
    )
    g.add_argument("spec", nargs="?", help="a Python file that makes derive.Operator objects; it is run")
    g.add_argument(
        "--out",
        metavar="FOLDER",
        help="folder of the generated package (default: beside the file, under its name)",
    )
    g.add_argument("--check", action="store_true", help="write nothing; fail if a file is stale")
    g.add_argument("--show", metavar="OPERATOR", help="print every stage of one operator instead")
    g.add_argument("--latex", action="store_true", help="with --show: the programs as LaTeX too")
    g.set_defaults(run=_generate)
    v = commands.add_parser("verify", help="check every gradient; exit 1 if one is wrong")
    v.add_argument(
        "package", nargs="?", help="folder of a generated package (default: the shipped catalogue)"
    )
    v.add_argument("--only", nargs="+", default=[], metavar="OPERATOR", help="these operators (default: all)")
    v.add_argument(
        "--cases",
        type=_count,
        metavar="N",
        help="configurations per check (default 6); for each six one round of a check that makes dozens of runs",
    )
    v.add_argument(
        "--quick",
        action="store_true",
        help="two configurations per check; of the catalogue, compiled kernels of core operators only",
    )
    v.add_argument("--jobs", type=_count, metavar="N", help="processes (default: one for each core)")
    v.add_argument("--seed", type=int, default=0, help="another one draws other configurations (default 0)")
    v.add_argument("--junit", metavar="FILE", help="write JUnit XML")
    v.add_argument("--markdown", metavar="FILE", help="write a Markdown table")
    v.add_argument("--pictures", metavar="FOLDER", help="draw counterexamples there (needs matplotlib)")
    v.set_defaults(run=_verify)
    m = commands.add_parser(
        "mutate", help="plant faults in generated modules, and count those that the tests see"
    )
    m.add_argument("--package", metavar="FOLDER", help="a generated package, instead of the catalogue")
    m.add_argument("--only", nargs="+", default=(), metavar="NAME", help="these operators (or passes) only")
    m.add_argument(
        "--sample", type=_count, metavar="N", help="faults for each operator (or pass; default: all)"
    )
    m.add_argument("--seed", type=int, default=0, metavar="N", help="of the sample (default 0)")
    m.add_argument("--jobs", type=_count, metavar="N", help="processes (default: one for each core)")
    m.add_argument(
        "--passes",
        action="store_true",
        help="plant them in the engine: in its passes, not in what it emitted",
    )
    m.add_argument("--same", action="store_true", help="show those that count as the same kernel, too")
    m.add_argument(
        "--as-shipped",
        action="store_true",
        help="try them on the generated test as it runs by default, not on all draws of the full one",
    )
    m.add_argument(
        "--least", type=float, metavar="PERCENT", help="exit 1 if less is seen of the faults that count"
    )
    m.set_defaults(run=_mutate)

    f = commands.add_parser(
        "fuzz", help="make calls that nobody should make: no crash, and no errors but those of kernels"
    )
    f.add_argument(
        "package", nargs="?", help="folder of a generated package (default: the shipped operators)"
    )
    f.add_argument("--only", nargs="+", default=[], metavar="OPERATOR", help="these operators (default: all)")
    f.add_argument("--cases", type=_count, default=20_000, metavar="N", help="how many (default 20000)")
    f.add_argument(
        "--seed", type=int, default=0, metavar="N", help="another one makes other cases (default 0)"
    )
    f.add_argument("--case", type=int, metavar="NUMBER", help="run one case, and tell its steps")
    f.add_argument("--most", type=_count, default=20, metavar="N", help="findings, then it ends (default 20)")
    f.add_argument("--torch", action="store_true", help="pass tensors of torch, too")
    f.set_defaults(run=_fuzz)
    q = commands.add_parser(
        "prove",
        help="proofs for all sizes: what loops visit, read and write, from the text of generated modules",
    )
    q.add_argument(
        "package", nargs="?", help="folder of a generated package (default: the shipped catalogue)"
    )
    q.add_argument("--only", nargs="+", default=[], metavar="OPERATOR", help="these operators (default: all)")
    q.add_argument("--quick", action="store_true", help="strides and dilations 1, 2, 3 (default: 1 to 8)")
    q.add_argument("--uncovered", action="store_true", help="list the tasks that are not covered, and why")
    q.set_defaults(run=_prove)
    x = commands.add_parser(
        "exact", help="run kernels over polynomials at every configuration of a box: proofs at these shapes"
    )
    x.add_argument(
        "package", nargs="?", help="folder of a generated package (default: the shipped catalogue)"
    )
    x.add_argument("--only", nargs="+", default=[], metavar="OPERATOR", help="these operators (default: all)")
    x.add_argument("--seconds", type=float, default=20.0, metavar="S",
                   help="processor time for each operator's box (default 20; 0: all of it)")  # fmt: skip
    x.add_argument("--quick", action="store_true", help="the first two seconds of each box")
    x.add_argument("--jobs", type=_count, metavar="N", help="processes (default: one for each core)")
    x.add_argument("--coverage", action="store_true",
                   help="list the lines and branches of each module that no run reached")  # fmt: skip
    x.set_defaults(run=_exact)
    r = commands.add_parser("geometry", help="receptive fields, sizes and costs of a network")
    r.add_argument(
        "network", metavar="FILE", help="lines of text, a Python file that makes a network, or .onnx"
    )
    r.add_argument("--input", action="append", type=_shape, metavar="SHAPE",
                   help="shape of an input, 1,3,224,224; once for each of several")  # fmt: skip
    r.add_argument("--png", metavar="FILE", help="draw the receptive fields, too")
    r.set_defaults(run=_geometry)

    w = commands.add_parser("warm", help="compile forward and VJP kernels now")
    w.add_argument(
        "package", nargs="?", help="folder of a generated package (default: the shipped catalogue)"
    )
    w.add_argument("--only", nargs="+", default=[], metavar="OPERATOR",
                   help="these operators (default: a package's all, the catalogue's most used)")  # fmt: skip
    w.add_argument("--all", action="store_true", help="every operator of the catalogue")
    w.add_argument(
        "--jobs",
        type=_count,
        metavar="N",
        default=os.cpu_count(),
        help="processes that compile (default: one a processor)",
    )
    w.set_defaults(run=_warm)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    args = parser().parse_args(argv)
    try:
        code: int = args.run(args)
        return code
    except DeriveError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
