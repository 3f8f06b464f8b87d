"""What tests that open a real browser share."""

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
# Without these Chromium asks its makers' servers for news at every start.
QUIET = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 390, "height": 844}

# Every player's length in seconds, once the browser has read it; -1 if it cannot.
LENGTHS = """() => Promise.all([...document.querySelectorAll("audio")].map(audio => new Promise(done => {
    if (audio.readyState) return done(audio.duration);
    audio.onloadedmetadata = () => done(audio.duration);
    audio.onerror = () => done(-1);
    audio.load();
})))"""
