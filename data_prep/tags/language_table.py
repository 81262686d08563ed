"""GitHub Linguist's table of languages: which extensions, file names and interpreters belong to which.

The facts are those of github-linguist/linguist's languages.yml (MIT, of 2026-08), names in lower case, dialects under
their language (TSX is TypeScript, T-SQL is SQL). An extension that several languages claim stands with the one that
most of its files are; data_prep/tags/language_content.py tells the others apart. Prose, notebooks, lock files and type
stubs are no code and not here.

An entry reads `language: extensions; file names; interpreters`, and entries are separated by bars or a new line; an
indented line continues the one above.
"""

PROGRAMMING = """
1c enterprise: bsl os | abap: abap | abap cds: asddls | actionscript: as | ada: adb ada ads | agda: agda lagda
aidl: aidl; ; aidl | aiken: ak | al: al | aleo: aleo | algol: alg | alloy: als | ampl: ampl | angelscript: angelscript
answer set programming: ; ; clingo | antlr: g4 | apex: apex | apl: apl dyalog; ; apl aplx dyalog
apollo guidance computer: agc | applescript: applescript scpt; ; osascript | asl: asl dsl
asp.net: asax ascx ashx asmx aspx | aspectj: aj | assembly: asm a51 nas nasm s x68 | asymptote: asy; ; asy
ats: dats hats sats | augeas: aug | autohotkey: ahk ah1 ah2 ahkl | autoit: au3
awk: awk auk gawk mawk nawk; ; awk gawk mawk nawk | b (formal method): mch | ballerina: bal | baml: baml | basic: bas
batchfile: bat cmd; gradlew.bat mvnw.cmd | beef: bf | berry: be | bicep: bicep bicepparam
bitbake: bb bbappend bbclass | bluespec: bsv | boogie: bpl; ; boogie | bqn: bqn | brightscript: brs
c: c cats h h.in idc upc; ; tcc | c#: cs cake cs.pp csx linq
c++: cpp c++ cc cp cppm cxx h++ hh hpp hxx inl ino ipp ixx tcc tpp txx | c3: c3 | cadence: cdc | cairo: cairo
cap cds: cds | cap'n proto: capnp | carbon: carbon | ceylon: ceylon | chapel: chpl | chuck: ck | circom: circom
clarion: clw | clarity: clar | classic asp: asp | clean: icl dcl | click: click | clips: clp
clojure: clj boot cl2 cljc cljs cljs.hl cljscm cljx hic; riemann.config; bb | cmake: cmake cmake.in; CMakeLists.txt
cobol: cob cbl ccp cobol cpy | codeql: ql qll
coffeescript: coffee _coffee cjsx coffee.erb iced litcoffee coffee.md; Cakefile; coffee | coldfusion: cfm cfml
coldfusion cfc: cfc | common lisp: lisp asd cl lsp ny podsl sexp; ; lisp sbcl ccl clisp ecl
common workflow language: cwl; ; cwl-runner | component pascal: cps | cql: cql | crystal: cr; ; crystal | cuda: cu cuh
cue: cue | curry: curry | cypher: cyp cypher | cython: pyx pxd pxi | d: d di | dafny: dfy; ; dafny
dart: dart; ; dart | daslang: das | dataweave: dwl | dhall: dhall | digital command language: com | dm: dm
dockerfile: dockerfile containerfile; Containerfile Dockerfile | dtrace: ; ; dtrace | dune: ; dune-project
dylan: dylan dyl intr lid | earthly: ; Earthfile | ec: ec eh | edgeql: edgeql esdl | elixir: ex exs; ; elixir
elm: elm | elvish: elv; ; elvish
emacs lisp: el emacs emacs.desktop; .abbrev_defs .emacs .emacs.desktop .gnus .spacemacs .viper Cask Eask Project.ede
  _emacs abbrev_defs | emberscript: em emberscript
erlang: erl app.src escript hrl xrl yrl; Emakefile rebar.config; escript | euphoria: ; ; eui euiw | f#: fs fsi fsx
f*: fst fsti | factor: factor; .factor-boot-rc .factor-rc | fennel: fnl; ; fennel | firrtl: fir | fish: fish; ; fish
flix: flix | flux: flux | forth: fth forth frt | fortran: fpp f for f77 f90 f03 f08 f95 | fpp: fppi | freebasic: bi
freemarker: ftl ftlh | futhark: fut | gams: gms | gap: g gap gi | gdb: gdb gdbinit | gdscript: gd
gdshader: gdshader gdshaderinc | genshi: kid | gherkin: feature story | gleam: gleam
glsl: glsl fp frag frg fsh fshader geo geom glslf glslv gshader rchit rmiss shader tesc tese vert vrx vs vsh vshader
  gsh | glyph: glf | gno: gno | gnuplot: gp gnu gnuplot plot plt; ; gnuplot | go: go | grammatical framework: gf
groovy: groovy grt gtpl gvy; Jenkinsfile; groovy | groovy server pages: gsp | gsc: gsc csc | hack: hack hhi | hare: ha
haskell: chs hs hs-boot hsc lhs; ; runghc runhaskell runhugs | haxe: hx hxsl
hcl: workflow hcl nomad tf tfvars tofu tftpl | hip: hip | hlsl: fx hlsl cginc fxh hlsli | holyc: hc | hoon: hoon
hurl: hurl | hy: hy; ; hy | idl: dlm | idris: idr lidr | igor pro: ipf | il assembly: il | imagej macro: ijm
imba: imba | imhex pattern language: hexpat | inform 7: ni i7x | ink: ink | inno setup: iss isl | io: io; ; io
isabelle: thy; ROOT | ispc: ispc | j: ijs; ; jconsole | janet: janet; ; janet | java: java jav jsh
java server pages: jsp tag jte
javascript: es gjs js _js bones cjs es6 jake javascript jsb jscad jsfl jslib jsm jspre jss jsx mjs njs pac sjs ssjs
  xsjs xsjslib; Jakefile; bun chakra d8 deno gjs js node nodejs qjs rhino v8 v8-shell | javascript+erb: js.erb
jcl: jcl | jflex: flex jflex | jison: jison jisonlex | jolie: ol iol; ; jolie
jq: ; ; gojq jaq jq jqjq jqq query-json | jsoniq: jq | jsonnet: jsonnet libsonnet | julia: jl; ; julia
just: just; .JUSTFILE .Justfile .justfile JUSTFILE Justfile justfile | kaitai struct: ksy | kcl: ; kcl.mod
koka: kk; ; koka | kotlin: gradle.kts kt ktm kts | krl: krl | labview: lvproj lvclass lvlib | langium: langium
lean: lean hlean | leo: leo | lex: l lex; Lexer.x lexer.x | lfe: lfe | ligolang: mligo ligo religo | lilypond: ly ily
linker script: ld lds; ld.script | liquidsoap: liq | livecode script: livecodescript | livescript: ls _ls; Slakefile
llvm: ll | lobster: lobster | logos: xm xi | logtalk: lgt logtalk
lua: lua nse p8 pd_lua rbxs rockspec wlua; .luacheckrc; lua luajit | luau: luau; ; luau | m: mumps
m4: m4; configure.ac | macaulay2: m2; ; M2
makefile: mak make makefile mk mkfile; BSDmakefile GNUmakefile Kbuild Makefile Makefile.am Makefile.boot
  Makefile.frag Makefile.in Makefile.inc Makefile.pc Makefile.wat makefile makefile.sco mkfile; make | mako: mako mao
mathematical programming system: mps | matlab: matlab | max: maxpat maxhelp maxproj mxt pat | mercury: ; ; mmi
meson: ; meson.build meson_options.txt | metal: metal | metta: metta | minid: minid | minizinc: mzn | mint: mint
mlir: mlir | modelica: mo | modula-2: | modula-3: i3 ig m3 mg
module management system: mms mmk; descrip.mmk descrip.mms | mojo: mojo | monkey: monkey monkey2 | moocode: moo
moonbit: mbt | moonscript: moon; ; moon | motoko: | move: move | mql4: mq4 mqh | mql5: mq5 | mupad: mu | nasl: nasl
nearley: ne nearley | nemerle: n | nesc: nc | netlogo: nlogo | newlisp: ; ; newlisp
nextflow: nf; nextflow.config; nextflow | nim: nim nim.cfg nimble nimrod nims; nim.cfg | nit: nit | nix: nix | nmodl:
noir: nr | nsis: nsi nsh | nu: ; Nukefile; nush | numpy: numpy numpyw numsc | nushell: nu; ; nu | oberon: ob2
objective-c: m | objective-c++: mm | objective-j: sj | objectscript:
ocaml: ml eliom eliomi ml4 mli mll mly; ; ocaml ocamlrun ocamlscript | odin: odin | omnet++ ned: ned | ooc: ooc
opa: opa | open policy agent: rego | opencl: opencl | openqasm: qasm | openscad: scad | oxygene: oxygene | oz: oz
p4: p4 | pact: pact | pan: pan | papyrus: psc | pascal: pas dfm dpr lpr pascal; ; instantfpc | pawn: pwn sma
pddl: pddl | peg.js: pegjs peggy
perl: pl perl ph plx pm psgi t; .latexmkrc Makefile.PL Rexfile ack cpanfile latexmkrc; cperl perl
php: php aw ctp php3 php4 php5 phps phpt; .php .php_cs .php_cs.dist Phakefile; php | picolisp: ; ; picolisp pil
pike: pike pmod; ; pike | pkl: ; ; pkl | polar: polar | pony: pony | portugol: por | pov-ray sdl: pov
power query: pq | powerbuilder: pbt sra sru srw | powershell: ps1 psd1 psm1; ; pwsh | processing: pde
procfile: ; Procfile | prolog: pro prolog yap; ; swipl yap | promela: pml | propeller spin: spin
puppet: pp; Modulefile | purebasic: pbi | purescript: purs | pyret: arr
python: eb py gyp gypi lmi py3 pyde pyp pyt pyw tac wsgi xpy smk snakefile; .gclient DEPS SConscript SConstruct
  wscript Snakefile; python python2 python3 py pypy pypy3 uv | q: q | q#: qs | qmake: pri; ; qmake | qml: qml qbs
qt script: ; installscript.qs toolchain_installscript.qs | quake: ; m3makefile m3overrides | quakec: qc | quint: qnt
r: r rd rhistory rsx; .Rapp.history .Rhistory .Rprofile expr-dist; Rscript | racket: rkt rktd rktl scrbl; ; racket
ragel: rl | raku: nqp p6 p6l p6m pl6 pm6 raku rakumod; ; perl6 raku rakudo
realbasic: rbbas rbfrm rbmnu rbres rbtbar rbuistate | reason: re rei | rebol: reb r2 r3 rebol | red: red reds
ren'py: rpy | renderscript: rsh | rescript: res resi | rexx: rexx pprx rex; ; regina rexx | rez: | ring: ring
robotframework: robot resource | roc: roc | rocq prover: coq | routeros script: ; ; RouterOS | rpgle: rpgle sqlrpgle
ruby: pluginspec rb builder eye gemspec god jbuilder mspec podspec prawn rabl rake rbi rbuild rbw rbx ru ruby thor
  watchr; .irbrc .pryrc .simplecov Appraisals Berksfile Brewfile Buildfile Capfile Dangerfile Deliverfile Fastfile
  Gemfile Guardfile Jarfile Mavenfile Podfile Puppetfile Rakefile Snapfile Steepfile Thorfile Vagrantfile buildfile;
  ruby macruby rake jruby rbx | rust: rs rs.in; ; rust-script | sage: sage sagews | sail: sail | salt: sls | sas: sas
scala: scala kojo sbt sc; ; scala | scenic: scenic; ; scenic
scheme: sch scm sld sps ss; ; scheme guile bigloo chicken csi gosh r6rs | scilab: sci sce
sed: sed; ; gsed minised sed ssed
shell: ebuild eclass sh bash bats command ksh pacscript sbatch sh.in slurm tmux tool trigger zsh zsh-theme tcsh csh;
  APKBUILD .bash_aliases .bash_functions .bash_history .bash_logout .bash_profile .bashrc .cshrc .envrc .flaskenv
  .kshrc .login .profile .tmux.conf .xinitrc .xsession .zlogin .zlogout .zprofile .zshenv .zshrc 9fs PKGBUILD
  bash_aliases bash_logout bash_profile bashrc cshrc gradlew kshrc login man mvnw profile tmux.conf xinitrc xsession
  zlogin zlogout zprofile zshenv zshrc; openrc-run ash bash dash ksh mksh pdksh rc sh zsh tcsh csh
shellsession: sh-session | sieve: sieve | singularity: ; Singularity | slang: slang | slash: sl | slice: ice
smali: smali | smalltalk: st | smarty: tpl | smithy: smithy | smpl: cocci
smt: smt2 smt z3; ; boolector cvc4 mathsat5 opensmt smtinterpol smt-rat stp verit yices2 z3 | solidity: sol
sourcepawn: sp | sqf: sqf hqf | squirrel: nut | stan: stan | standard ml: fun sig sml
starlark: bzl star; BUCK BUILD BUILD.bazel MODULE.bazel Tiltfile WORKSPACE WORKSPACE.bazel WORKSPACE.bzlmod
stata: do ado doh ihlp mata matah sthlp | supercollider: scd; ; sclang scsynth | surrealql: surql | sway: sw
swift: swift | swig: i swg swig | systemverilog: sv svh vh | tact: tact | talon: talon
tcl: tcl adp sdc tcl.in tm xdc; owh starfield; tclsh wish | teal: tl; ; tl | thrift: thrift | tl-verilog: tlv
tla: tla | toit: toit | tolk: tolk | turing: tu | typescript: ts tsx gts cts mts; ; ts-node tsx | typespec: tsp
typst: typ | ucode: ; ; ucode | uno: uno | unrealscript: uc | v: | vala: vala vapi | vbscript: vbs | vcl: vcl
verilog: v veo | verse: verse | vhdl: vhdl vhd vhf vhi vho vhs vht vhw
vim script: vim vimrc vmb; .exrc .gvimrc .nvimrc .vimrc _vimrc gvimrc nvimrc vimrc | visual basic .net: vb vbhtml
visual basic 6.0: frm vba ctl dsr | volt: volt | vyper: vy | wdl: wdl | webassembly: wast wat | webidl: webidl
wgsl: wgsl | whiley: whiley
wolfram language: mathematica ma mt wl wls wlt; ; wolfram WolframKernel wolframscript math MathKernel
  MathematicaScript WolframNB Mathematica | wren: wren | xc: xc | xmake: ; xmake.lua
xojo: xojo_code xojo_menu xojo_report xojo_script xojo_toolbar xojo_window | xonsh: xsh | xproc: xpl xproc
xquery: xquery xq xql xqm xqy | xs: xs | xslt: xslt xsl | xtend: xtend | yacc: yy y yacc | yara: yar yara | yul: yul
zeek: zeek bro | zenscript: zs | zephir: zep | zig: zig zig.zon | zimpl: zimpl zmpl zpl
"""

MARKUP = """
antlers: antlers.html antlers.php antlers.xml | api blueprint: apib | astro: astro | bibtex: bib bibtex
blade: blade blade.php | blueprint: blp | bru: bru | closure templates: soy | css: css pcss postcss sss | d2: d2
edge: edge | ejs: ejs ect ejs.t jst | go template: gohtml gotmpl html.tmpl tmpl; _helpers.tpl | haml: haml haml.deface
handlebars: handlebars hbs | html: html hta htm html.hl xht xhtml | html+ecr: ecr | html+eex: html.eex heex leex
html+erb: erb erb.deface rhtml | html+php: phtml | html+razor: cshtml razor | jinja: jinja j2 jinja2 | kvlang: kv
latte: latte | less: less | liquid: liquid | marko: marko | mdx: mdx | mermaid: mmd mermaid | mustache: mustache
nunjucks: njk | pug: jade pug | raml: raml | riot: riot | roff: man mdoc | sass: sass | scaml: scaml | scss: scss
slim: slim | slint: slint | stylus: styl | svelte: svelte | templ: templ
tex: tex aux bbx cbx dtx ins lbx ltx mkii mkiv mkvi sty | twig: twig | velocity template language: vtl | vento: vto
vue: vue
"""

DATA = """
abnf: abnf | apacheconf: apacheconf vhost; .htaccess apache2.conf httpd.conf | asn.1: asn asn1 | avro idl: avdl
caddyfile: caddyfile; Caddyfile | cloud firestore security rules: ; firestore.rules | collada: dae
crontab: ; crontab | cson: cson | csv: csv
dotenv: env; .env .env.ci .env.dev .env.development .env.development.local .env.example .env.local .env.prod
  .env.production .env.sample .env.staging .env.template .env.test .env.testing | ebnf: ebnf | edn: edn
flatbuffers: fbs | gn: gn gni; .gn; gn | go module: ; go.mod | go workspace: ; go.work
godot resource: gdnlib gdns tres tscn; project.godot | gradle: gradle | graphql: graphql gql graphqls
graphviz (dot): dot gv | haproxy: ; haproxy.cfg | hocon: hocon; .scalafix.conf .scalafmt.conf
ini: editorconfig gitconfig ini cfg cnf container dof lektorproject mount network prefs service socket timer desktop
  desktop.in nanorc; .editorconfig .gitconfig .gitmodules .tgitconfig config.worktree .buckconfig .coveragerc .flake8
  .gitreview .pylintrc HOSTS buildozer.spec hosts pylintrc vlcrc .npmrc .inputrc inputrc .wgetrc .curlrc _curlrc
  .nanorc nanorc | java properties: properties
json: json 4dform 4dproject avsc geojson gltf har json-tmlanguage json.example jsonl mcmeta sarif slnlaunch tfstate
  tfstate.backup topojson webapp webmanifest yyp jsonld; .all-contributorsrc .arcconfig .auto-changelog .c8rc
  .htmlhintrc .imgbotconfig .nycrc .releaserc .secrets.baseline .tern-config .tern-project .watchmanconfig
  Package.resolved mcmod.info
json with comments: jsonc code-snippets code-workspace hujson sublime-build sublime-color-scheme sublime-commands
  sublime-completions sublime-keymap sublime-macro sublime-menu sublime-mousemap sublime-project sublime-settings
  sublime-theme sublime-workspace sublime_metrics sublime_session tsconfig.json; .babelrc .devcontainer.json
  .eslintrc .eslintrc.json .jscsrc .jshintrc .jslintrc .oxlintrc.json .swcrc api-extractor.json devcontainer.json
  jsconfig.json language-configuration.json tsconfig.json tslint.json | json5: json5 | kdl: kdl | kusto: kql
lark: lark | minizinc data: dzn | neon: neon | nginx: nginx nginxconf; nginx.conf | ninja: ninja
openstep property list: glyphs
pip requirements: ; dev-requirements.txt requirements-dev.txt requirements.lock.txt requirements.txt
pkg-config: pc.in | plantuml: puml iuml plantuml | prisma: prisma | proguard: | protocol buffer: proto
protocol buffer text format: textproto pbtxt txtpb | rbs: rbs | record jar: ; language-subtag-registry.txt | ron: ron
ros interface: action srv | rpm spec: spec
selinux policy: te; file_contexts genfs_contexts initial_sids port_contexts security_classes | soong: ; Android.bp
sparql: sparql rq
sql: hql pls bdy ddl fnc pck pkb pks plb plsql prc spc sql tpb tps trg vw pgsql mysql tab udf viw db2 | svg: svg
textmate properties: ; .tm_properties | tmdl: tmdl | toml: toml toml.example; Cargo.toml.orig Pipfile | tsv: tsv vcf
turtle: ttl | wavefront material: mtl | webassembly interface type: wit | windows registry entries: reg
xml: xml adml admx ant axaml axml builds ccproj ccxml clixml cproject cscfg csdef csproj ct depproj dita ditamap
  ditaval dll.config dotsettings filters fsproj fxml glade gmx gpx grxml gst hzp icls iml ivy jelly jsproj kml launch
  mdpolicy meta4 mjml mxml natvis ndproj nproj nuspec odd osm pkgproj proj props ps1xml psc1 pt pubxml qhelp rbxmx
  rdf resx rss scxml sfproj shproj slnx srdf storyboard sublime-snippet targets tml ui urdf ux vbproj vcxproj
  vsixmanifest vssettings vstemplate vxml wixproj wsdl wsf wxi wxl wxs x3d xacro xaml xib xlf xliff xmi xml.dist xmp
  xproj xsd xspec xul zcml plist sttheme tmcommand tmlanguage tmpreferences tmsnippet tmtheme xsp-config
  xsp.metadata; ant.xml build.xml pom.xml .classpath .cproject .project App.config NuGet.config Settings.StyleCop
  Web.Debug.config Web.Release.config Web.config packages.config
yaml: yml mir reek rviz sublime-syntax syntax yaml yaml-tmlanguage yaml.sed yml.mysql; .clang-format .clang-tidy
  .clangd .gemrc CITATION.cff | yang: yang | zmodel: zmodel
"""
