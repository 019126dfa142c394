"""A made-up /proc: the files that `dashd.jail.usage` reads, as the kernel writes them (proc(5))."""

from pathlib import Path

from dashd.jail import usage
from dashd.jail.usage import Process


class Proc:
    """A made-up /proc."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = str(folder)
        self.meminfo()

    def meminfo(self, available=0, shmem=0, swap=0, swap_free=0, kernel=0) -> None:
        figures = {"MemAvailable": available, "Shmem": shmem, "SwapTotal": swap, "SwapFree": swap_free}
        programs = {"MemFree": 9, "Buffers": 1, "Cached": 2, "AnonPages": 3, "SReclaimable": 4}
        figures |= {"MemTotal": kernel + sum(programs.values()), **programs}
        text = "".join(f"{name}:  {value} kB\n" for name, value in figures.items())
        (self.folder / "meminfo").write_text(text)

    def process(self, pid, parent, *, rss=1, name="x", threads=1, started=7) -> None:
        here = self.folder / str(pid)
        here.mkdir(exist_ok=True)
        fields = ["0"] * 50
        fields[0], fields[1], fields[17], fields[19], fields[21] = "S", parent, threads, started, rss
        (here / "stat").write_text(f"{pid} ({name}) {' '.join(map(str, fields))}\n")

    def page_tables(self, pid, kib) -> None:
        (self.folder / str(pid) / "status").write_text(f"Name:\tx\nVmPTE:\t    {kib} kB\nThreads:\t1\n")

    def rollup(self, pid, **kib) -> None:
        lines = [f"{name}:   {value} kB" for name, value in {"Rss": 10**9, "Swap": 10**9, **kib}.items()]
        (self.folder / str(pid) / "smaps_rollup").write_text("0-1 [rollup]\n" + "\n".join(lines) + "\n")

    def tree(self, root) -> list[Process]:
        return usage.trees(usage.all_processes(self.path), [root])[root]
