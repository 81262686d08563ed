"""Twenty HumanEval solutions as a copyist would hide them: other names, layout, quotes and comments; the same steps.

The line above each function names the problem that it solves; a test runs the problem's own tests on it.
"""

# ruff: noqa
# fmt: off


# HumanEval/0
def any_pair_within(values, limit):
    # compare everything with everything
    for position, first in enumerate(values):
        for other_position, second in enumerate(values):

            if position != other_position:
                gap = abs( first-second )   # how far apart
                if gap < limit:
                    return True


    return False


# HumanEval/6
def bracket_depths(line):
    """Tell how deep each group of brackets goes."""
    def deepest( group ):
        level = 0
        deepest_level = 0
        for symbol in group:
            if symbol == "(":
                level += 1
                # remember the record
                deepest_level = max( level, deepest_level )
            else:
                level -= 1
        return deepest_level
    return [ deepest(piece) for piece in line.split(" ") if piece ]


def mirrored(word):
    return word == word[::-1]


# HumanEval/10
def shortest_mirror(word: str) -> str:
    '''Complete a word to one that reads the same from both ends.'''
    if not word:
        return ""
    tail_from = 0
    # move on until the rest is symmetric
    while not mirrored( word[ tail_from: ] ):
        tail_from += 1
    return word + word[ :tail_from ][::-1]


# HumanEval/12
def widest_entry(entries):
    if not entries:
        return None
    width = max(len(entry) for entry in entries)  # of all of them
    for candidate in entries:
        if len(candidate) == width:
            # the first one wins
            return candidate


# HumanEval/17
def beats_of(score):
    durations = {"o": 4, "o|": 2, ".|": 1}    # whole, half, quarter

    return [
        durations[sign]
        for sign in score.split(" ")
        if sign
    ]


# HumanEval/19
def order_spelled_digits(sentence):
    # what each word stands for
    worth = {"zero": 0, "one": 1, "two": 2, "three": 3, "four": 4,
             "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9}
    return " ".join(
        sorted([token for token in sentence.split(" ") if token], key=lambda token: worth[token]))


# HumanEval/21
def normalise(samples):
    lowest = min(samples)
    highest = max(samples)
    # linear map onto the unit interval
    return [(sample - lowest)/(highest - lowest)
            for sample in samples]


def evaluate(coefficients, at):
    return sum(coefficient * at ** power for power, coefficient in enumerate(coefficients))


# HumanEval/32
def bisect_root(coefficients):
    lower, upper = -1., 1.
    while evaluate(coefficients, lower) * evaluate(coefficients, upper) > 0:
        lower *= 2.0
        upper *= 2.0   # widen the bracket

    # halve it until it is narrow
    while upper - lower > 1e-10:
        middle = (lower + upper) / 2.0
        if evaluate(coefficients, middle) * evaluate(coefficients, lower) > 0: lower = middle
        else: upper = middle
    return lower


# HumanEval/37
def arrange_alternately(sequence):
    at_even = sequence[::2]
    at_odd = sequence[1::2]
    at_even.sort()
    merged = []
    for left, right in zip(at_even, at_odd):
        merged.extend( [left, right] )

    if len(at_even) > len(at_odd):
        merged.append( at_even[-1] )   # one is left over
    return merged


# HumanEval/40
def three_cancel_out(series):
    for a in range(len(series)):
        for b in range(a + 1, len(series)):
            # a third, behind both
            for c in range(b + 1, len(series)):
                if series[a] + series[b] + series[c] == 0: return True
    return False


# HumanEval/44
def digits_in_radix(quantity, radix):
    written = ''
    while quantity > 0:
        # last digit first
        written = str(quantity % radix) + written
        quantity //= radix
    return written


# HumanEval/47
def middle_value(data):
    data = sorted(data)
    if len(data)%2 == 1:
        return data[len(data)//2]
    else:
        # between the two in the middle
        return (data[len(data)//2 - 1]
                + data[len(data)//2]) / 2.0


# HumanEval/58
def shared_elements(here, there):
    both = set()
    for mine in here:
        for yours in there:
            if mine == yours:
                both.add(mine)
    return sorted( list(both) )   # each once


# HumanEval/61
def is_balanced(text):
    open_ones = 0
    for mark in text:
        if mark == '(':
            open_ones += 1
        else:
            open_ones -= 1
        # closed more than were open
        if open_ones < 0: return False
    return open_ones == 0


# HumanEval/64
def count_sounding(word):
    sounding = 'aeiouAEIOU'
    total = sum(letter in sounding for letter in word)

    # at the end "y" sounds too
    if word[-1] == "y" or word[-1] == "Y":
        total += 1
    return total


# HumanEval/66
def weight_of_capitals(message):
    if message == '':
        return 0
    # small letters weigh nothing
    return sum( ord(sign) if sign.isupper() else 0
                for sign in message )


# HumanEval/68
def take_smallest_even(branch):
    if (len(branch) == 0):
        return []
    divisible = list( filter(lambda node: node % 2 == 0, branch) )
    if (divisible == []):
        return []      # nothing to take
    return [ min(divisible), branch.index(min(divisible)) ]


# HumanEval/70
def small_and_large_in_turn(pool):
    ordered, take_small = [], True
    while pool:
        ordered.append(
            min(pool) if take_small else max(pool)
        )
        pool.remove(ordered[-1])  # used up
        take_small = not take_small
    return ordered


# HumanEval/26
def only_singletons(items):
    import collections
    # how often each one occurs
    times = collections.Counter(items)
    return [ item for item in items if times[item] <= 1 ]


# HumanEval/55
def rabbits(month):
    if month == 0:
        return 0

    if month == 1:
        return 1
    # those of the last two months together
    return rabbits(month-1) + rabbits(month-2)
