"""The scanner of requests: what in a body looks like an attack, where, and how sure that is.

The way of a request is down this list, of which each file imports only from those below it
(tests/guard/test_guard_map.py). First the body: whether it is what servers read, whose words are in
it, and which of them are new.

    scanner      the scan of a body, in two steps: read it, score what is new
    verdict      what the findings come to, by thresholds
    outbound     links in a reply that look as if they carried something away
    cache        what is known of messages that were scanned before, by keyed hashes
    slices       new texts in pieces, so that others have their turn between two
    shape        values that are of a type no server takes, roles that there are not
    walk         every string of the request, and whose words it is
    attachments  strings that are data, such as pictures: not read, but for files of text
    document     bytes to JSON, strictly: keys given twice, endless numbers, too much of anything
    characters   characters that hide something, or that no text has
    piecewise    searches in long texts that let go of the interpreter's lock in between

Then the new texts, in windows of 700 characters that overlap: most of them are passed over.

    scorer       texts to findings: which windows are read, and what the model says of them
    model        what words, pairs, rules and forms count; its data
    gate         a smaller model, which decides by words alone which windows are read
    coded        what is under the codes in a window, such as a key: a text, or nothing
    hiding       windows that the gate's words say nothing of: coded, escaped, unseen, spelt
    stretch      several windows in a row, folded once
    plain        what is left of a long text for the gate, by table: small letters, 0, spaces

Then each of the other windows, read as it stands and as whatever it may decode to.

    reader       all readings of a window that are worth it, five at most
    reading      what one reading shows: words, forms, rules; all that the model is given
    matcher      which rules and signs match, and which lists of words were seen
    decoding     other readings of a text: base64, hex, escapes, spelling, rot13, reversed, unseen
    rules        the rules, as data/rules.toml has them

What these work with.

    words        folded text as words, and its form
    fold         one spelling for all ways to write the same letters
    windows      where windows begin
    grams        words and pairs of them, side by side or around one, hashed; their weights
    counts       how often bytes are in a long text
    batches      as many in a row as come to a size
    finding      what was noticed in a text: category, score, place
    arrays       numpy, loaded
    engine       hyperscan: all patterns in one pass
    beside       work in a process of its own

The words that they share:

    text, piece      what one speaker says in one part of a request; it, or a slice of a long one
    window, part     700 characters of a text; the few words in a row in it that are worst, and the
                     sentences around them, which are read by themselves
    folded, plain    in one spelling; and of that only what words consist of
    sign             what points to another reading
    list             words of the rules that mean much the same; which ones are near each other is a
                     rule
    reading, form    a window as it is given to the model; what it looks like besides its words

Pure: bytes in, findings out. Nothing here waits, logs, or knows of HTTP.
"""
