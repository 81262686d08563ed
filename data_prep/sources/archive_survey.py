"""What a first pass through an archive says: its members, its top folder, and the licence of what is in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.parser import BytesHeaderParser
from pathlib import Path, PurePosixPath

from codellama_train.recipe.data_sources import FilesTable
from data_prep.sources.archive_streams import BrokenArchive, Member, is_any_archive, members_of
from data_prep.sources.files import wanted_by
from data_prep.sources.repository_license import license_of_names
from data_prep.sources.roots import license_of_metadata
from data_prep.sources.untrusted_files import LeftOut, in_excluded_folder, reason_against
from data_prep.tags.licenses import LICENSE_BYTES, is_license_file

METADATA_FILES = ("PKG-INFO", "METADATA")
MAX_SMALL_TEXTS = 100
DEEPEST_LICENSE = 2  # parts of the path of a file that may say the licence of all


@dataclass(frozen=True)
class Listed:
    """A member as its archive lists it: `relative` is its path below the archive's top folder."""

    index: int
    relative: Path
    num_bytes: int
    repository_name: str


@dataclass
class Survey:
    """What a first pass finds; `end` says why it could not go on, where it could not."""

    members: list[tuple[str, int, str | None]] = field(default_factory=list)  # path, size, why it may not be read
    small_texts: dict[str, bytes] = field(default_factory=dict)  # beginnings of licence files and package metadata
    end: LeftOut | None = None

    @property
    def top(self) -> str:
        """The one folder that all files lie in; empty where there is none."""
        parts = {path.partition("/")[::2] for path, _, refusal in self.members if refusal is None}
        tops = {top for top, _ in parts}
        return tops.pop() if len(tops) == 1 and all(rest for _, rest in parts) else ""

    @property
    def license(self) -> str | None:
        """The licence that package metadata or a licence file near the top declares."""
        for path, data in sorted(self.small_texts.items()):
            if PurePosixPath(path).name in METADATA_FILES:
                found = license_of_metadata(BytesHeaderParser().parsebytes(data))
                if found is not None:
                    return found
        by_name = {PurePosixPath(path).name: data for path, data in sorted(self.small_texts.items(), reverse=True)}
        return license_of_names(by_name, by_name.__getitem__)


def survey_of(archive: Path, max_file_bytes: int) -> Survey:
    """Go through an archive once."""
    survey = Survey()
    try:
        for member in members_of(archive, longest_read=max_file_bytes):
            survey.members.append((member.path, member.num_bytes, member.refusal))
            if len(survey.small_texts) < MAX_SMALL_TEXTS and _may_say_license(member):
                survey.small_texts[member.path] = _beginning(member)
    except BrokenArchive as damage:
        survey.end = LeftOut(archive, damage.reason, detail=damage.detail)
    return survey


def _beginning(member: Member) -> bytes:
    try:
        return member.read(LICENSE_BYTES)
    except BrokenArchive:  # said when its turn comes to be read, or by the next step through the archive
        return b""


def _may_say_license(member: Member) -> bool:
    path = PurePosixPath(member.path)
    is_near_top = len(path.parts) <= DEEPEST_LICENSE and member.refusal is None
    return is_near_top and (path.name in METADATA_FILES or is_license_file(path.name))


def judged(survey: Survey, source: FilesTable, repository: str) -> Iterator[Listed | LeftOut]:
    """Decide about every member by its name and size; paths of what is left out are those in the archive."""
    is_wanted = wanted_by(source, None)
    top = f"{survey.top}/" if survey.top else ""
    seen: set[Path] = set()
    for index, (path, num_bytes, refusal) in enumerate(survey.members):
        relative = Path(path.removeprefix(top))
        reason = refusal or _reason_against(relative, num_bytes, source, is_wanted)
        if reason is None and relative in seen:
            reason = "second_of_its_name"
        if reason is not None:
            yield LeftOut(Path(path), reason, num_bytes)
        else:
            seen.add(relative)
            yield Listed(index, relative, num_bytes, repository)


def _reason_against(
    relative: Path, num_bytes: int, source: FilesTable, is_wanted: Callable[[Path], bool]
) -> str | None:
    if in_excluded_folder(relative, source.exclude_folders):
        return "excluded_folder"
    if is_any_archive(relative.name):
        return "nested_archive"
    return reason_against(relative, num_bytes, source.max_file_bytes, is_wanted)
